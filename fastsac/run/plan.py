"""What `auto` means for a run, and every check that must fail before anything is built or written.

Owns decisions, makes nothing but the run directory's mark: the result is a `Plan` that training follows and prints.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import torch

from fastsac.acting.evaluation import MAX_STEPS
from fastsac.algorithms import registry
from fastsac.config.history import Resumed
from fastsac.config.settings import Config
from fastsac.config.shares import PartOfAgent
from fastsac.env import MIN_IMAGE_SIDE, EnvSpec, check_info_metrics, make_spec, small_picture, why_only_here
from fastsac.run.claim import claim_together, folder_before, of_restart, settings_before
from fastsac.run.effects import settle
from fastsac.run.films import check_films
from fastsac.run.forecast import forecast
from fastsac.run.memory import check_memory
from fastsac.run.mode import choose_mode
from fastsac.run.prefill import Prefill, plan_prefill, ring_bytes
from fastsac.run.processes import about_processes, check_equal, check_equal_settings, share_with_others
from fastsac.run.run_dir import RunDir
from fastsac.run.run_state import Resume, check_resume, check_task
from fastsac.runtime import compile_cache
from fastsac.runtime.device import num_cpus
from fastsac.runtime.gpus import Placement, View, choose_placement, look
from fastsac.runtime.launch import Mode
from fastsac.runtime.versions import is_installed
from fastsac.runtime.world import World

# Multiply-adds of the largest matrix product below which more threads than one are not worth a trial.
ONE_THREAD_BELOW = 500_000
OF_EVERY_ALGORITHM = {"utd_ratio", "learning_starts", "random_steps", "reward_clip"}  # what collecting goes by
WHOLE_SUMS = 512  # batches up to here are summed as a whole by the library of matrix products


@dataclass(frozen=True)
class Plan:
    """A checked configuration and what was chosen for it."""

    config: Config
    share: Config  # the part of this process, sizes included; `config` where it is alone
    world: World
    spec: EnvSpec
    placement: Placement
    mode: Mode
    cpu_threads: tuple[int, ...]  # of torch on a CPU; of several, the run takes what it measures to be faster
    place: RunDir  # held by this process: `Run` lets it go, or who has no use for the plan
    resume: Resume | None  # what the run continues from
    prefill: Prefill | None  # what it draws from or begins with
    notes: tuple[str, ...]
    began: float  # when planning did, on `time.perf_counter`: max_wall_time counts from there, waiting included

    @property
    def device(self) -> torch.device:
        """What this process trains on."""
        return self.placement.device

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing left to do: with resume auto, the run has come to its end."""
        return self.resume is not None and self.resume.complete

    @property
    def prefill_digest(self) -> str | None:
        """Of the transitions that the run began with."""
        if self.prefill is not None:
            return self.prefill.digest
        return None if self.resume is None else self.resume.state.prefill

    @property
    def history(self) -> list[Resumed]:
        """How the run was continued so far, and is now."""
        return [] if self.resume is None else self.resume.history

    @property
    def run_dir(self) -> Path:
        """The folder that the run writes to."""
        return self.place.path


def make_plan(config: Config, notes: Sequence[str] = (), world: World | None = None) -> Plan:
    """Check everything that can be checked before work starts, choose device and mode, and take the run directory.

    Args:
        config: the settings.
        notes: what to say of them first.
        world: the processes that train the run together; None is this one alone.

    Raises:
        ValueError: the run cannot be made as asked for; one line that says what to change.
    """
    began, world = time.perf_counter(), world or World()
    check_equal_settings(config, world)
    config = world.agreed(lambda: of_restart(config, world))
    views = look(config.device, world)
    choice = world.agreed(lambda: _choose(config, world, views))
    config, share, spec, placement = choice.config, choice.share, choice.spec, choice.placement
    device = placement.device
    about = about_processes(share, placement, world)
    how = f"{device.type}, {choice.mode}" + ", sharing a GPU" * placement.is_gpu_shared
    check_equal(f"would train on {how}", world)
    place, is_resumed = claim_together(config, world)
    sharing = world.local_size if device.type == "cpu" else placement.num_sharing
    try:
        resume = world.agreed(lambda: check_resume(config, spec, place.path) if is_resumed else None)
        if resume is not None:
            replay = "" if resume.found.with_replay else " without its replay"
            check_equal(f"finds checkpoint {resume.found.folder.name}{replay} in {place.path}", world)
        prefill = world.agreed(lambda: plan_prefill(share, spec, device, resume))
        memory = world.agreed(lambda: check_memory(share, spec, device, ring_bytes(prefill, share), sharing))
    except BaseException:
        place.release()
        raise
    said = (*notes, *choice.notes, about, memory, prefill.note if prefill else "", *(resume.notes if resume else ()))
    return Plan(
        config, share, world, spec, placement, choice.mode, choice.threads, place, resume, prefill,
        tuple(filter(None, said)), began,
    )  # fmt: skip


class _Choice(NamedTuple):
    """What was chosen before the run directory was looked at."""

    config: Config
    share: Config
    spec: EnvSpec
    placement: Placement
    mode: Mode
    threads: tuple[int, ...]
    notes: tuple[str, ...]


def _choose(config: Config, world: World, views: Sequence[View]) -> _Choice:
    """Check what is known without the run directory."""
    if (starts := max(config.values_of("learning_starts"))) >= config.total_steps:
        raise ValueError(
            f"learning_starts {starts:,} must be below total_steps {config.total_steps:,}, or nothing "
            "is learned. Raise --total-steps or lower --learning-starts."
        )
    placement = choose_placement(config.device, views, world.rank)
    device = placement.device
    spec = make_spec(config.env, config.env_kwargs_of_training, config.action_limit)
    if (folder := folder_before(config)) is not None:
        check_task(folder, spec)
    _check_evaluation(config, spec)
    if spec.info_names is not None:
        check_info_metrics(config.info_metrics, spec.env_id, spec.info_names)
    check_films(config)
    config, left_out = settle(config.replace(algo=_choose_algo(config, spec)), spec, settings_before(config))
    _check_sweep(config, spec)
    share = share_with_others(config, world)
    mode, why = choose_mode(config, device, isinstance(share, PartOfAgent) and placement.is_gpu_shared)
    if mode != "eager":
        compile_cache.check()
    threads = choose_threads(share, spec, mode)
    _check_wandb(config)
    device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else _threads_text(threads)
    precision = ", bfloat16" if config.bf16 else ""
    notes = (
        *_env_notes(config, spec),
        left_out,
        f"device {device} ({device_name}), update {mode}: {why}{precision}",
        forecast(share, spec, threads[-1]) if device.type == "cpu" and config.resume is None else "",
    )
    return _Choice(config, share, spec, placement, mode, threads, notes)


def _env_notes(config: Config, spec: EnvSpec) -> Iterator[str]:
    """What to know about the environments."""
    obs = "x".join(map(str, spec.image or (spec.obs_dim,)))
    members = f" x {config.num_members} members" if config.num_members > 1 else ""
    yield (
        f"{spec.env_id}: obs {obs}, action {spec.action_dim}, {config.algo}, preset {config.preset}, "
        f"{config.num_envs} environment{'s' * (config.num_envs > 1)}{members}"
    )
    names = ("env_kwargs", "eval_env_kwargs", "max_episode_steps")
    yield ", ".join(f"{name} {getattr(config, name)}" for name in names if getattr(config, name))
    if spec.max_episode_steps is None:
        yield (
            f"{spec.env_id} tells no time limit: episodes end only when the task ends them, and those of evaluations "
            f"are cut off after {MAX_STEPS:,} steps. The setting max_episode_steps (--max-episode-steps N) gives one, "
            "where the simulator can."
        )
    yield from spec.notes
    if picture := small_picture(spec.obs_parts):
        convolved = "; enlarged it goes through convolutions" * (len(spec.obs_parts) == 1)
        scaled = "; obs_norm (--obs-norm) brings its numbers to one scale" * (not config.obs_norm)
        yield (
            f"{spec.env_id}: {picture.name} of shape {picture.shape} is a vector of numbers from 0 to 255, since an "
            f"image has sides of at least {MIN_IMAGE_SIDE} pixels{convolved}{scaled}."
        )
    if why := why_only_here(config.env):
        yield (
            f"{config.env} exists in this process alone ({why}): `fastsac eval` and `--resume` will not find it. "
            "fastsac.evaluate and fastsac.train(env, resume=RUN_DIR) in the same script do."
        )


def _choose_algo(config: Config, spec: EnvSpec) -> str:
    """The algorithm that `auto` means, or the one asked for; a ValueError where it does not fit."""
    algo = registry.resolve_algorithm(config.algo, spec.discrete)
    if registry.get_algorithm(algo).discrete != spec.discrete:
        kind = f"{spec.action_dim} choices" if spec.discrete else f"continuous actions of length {spec.action_dim}"
        raise ValueError(f"algo {algo} cannot act in {spec.env_id}, which has {kind}. Give --algo auto.")
    return algo


def _check_sweep(config: Config, spec: EnvSpec) -> None:
    """Refuse a sweep of what the algorithm does not have, or has for all members at once, with a ValueError."""
    algorithm = registry.get_algorithm(config.algo)(config, spec)
    for name in config.member_setting(0).keys() - OF_EVERY_ALGORITHM:
        low, high = (algorithm.hyper(config.replace(sweep=(), **{name: value})) for value in (0.25, 0.5))
        starts = name == "init_alpha" and algorithm.adjusts_alpha
        if low == high and not starts:
            if name == "lr_final":
                raise ValueError(
                    "lr_final cannot be swept with lr_schedule constant. Give --lr-schedule linear or cosine."
                )
            raise ValueError(f"{name} cannot be swept with algo {config.algo}: its members do not differ by it.")


def _check_wandb(config: Config) -> None:
    """Refuse Weights & Biases where it is missing, and its settings without it, with a ValueError."""
    if config.wandb and not is_installed("wandb"):
        raise ValueError('wandb is not installed. Run pip install "fastsac[wandb]", or leave --wandb out.')
    defaults = {field.name: field.default for field in fields(Config) if field.name.startswith("wandb_")}
    given = [name for name, default in defaults.items() if getattr(config, name) != default]
    if given and not config.wandb:
        raise ValueError(f"{given[0]} is for Weights & Biases, which is off. Add --wandb, or leave it out.")


def _check_evaluation(config: Config, spec: EnvSpec) -> None:
    """Refuse environments of evaluation that are of other sizes, with a ValueError."""
    if not config.eval_env_kwargs:
        return
    other = make_spec(config.env, config.env_kwargs_of_evaluation, config.action_limit)
    if name := spec.difference(other):
        raise ValueError(
            f"eval_env_kwargs {config.eval_env_kwargs} make evaluations differ in {name}: "
            f"{getattr(spec, name)} in training, {getattr(other, name)} in evaluation. Leave out what changes it."
        )


def choose_threads(config: Config, spec: EnvSpec, mode: Mode) -> tuple[int, ...]:
    """Threads of torch for the learner's products: the number, or two of which the faster is to be taken.

    Two only where the numbers do not depend on it: convolutions sum their gradients, products their long sums over a
    large batch, and eager norms their squares, in as many parts as there are threads.  Processes that train one agent
    have no choice either: each would try when it suits it, and the reductions of an update want all of them.
    """
    if config.cpu_threads not in ("auto", 0):
        return (int(config.cpu_threads),)
    if num_cpus() == 1:
        return (1,)
    if spec.image is not None or config.batch_size > WHOLE_SUMS:
        return (num_cpus(),)
    widest = max(config.actor_dims + config.critic_dims)
    small = config.num_members * config.batch_size * widest * widest < ONE_THREAD_BELOW
    is_fixed = isinstance(config, PartOfAgent) or (mode == "eager" and config.clips_gradients)
    return (1,) if small or is_fixed else (1, num_cpus())


def _threads_text(threads: tuple[int, ...]) -> str:
    text = " or ".join(map(str, threads))
    what = "whichever is faster" if len(threads) > 1 else "--cpu-threads N for another number"
    return f"{text} thread{'s' * (threads[-1] > 1)}, {what}"
