"""What `auto` means for a run, and every check that must fail before anything is built or written.

Owns decisions, makes nothing but the run directory's mark: the result is a `Plan` that training follows and prints.
"""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils import _pytree as pytree

from fastsac import checkpoint
from fastsac.algorithms import registry, step
from fastsac.config.settings import Config, update_budget
from fastsac.env import EnvSpec, make_spec
from fastsac.learning import replay
from fastsac.run.result import read_summary
from fastsac.run.run_dir import RunDir, claim
from fastsac.runtime import compile_cache
from fastsac.runtime.device import c_compiler, choose_device, cpp_compiler, format_bytes, free_memory, num_cpus
from fastsac.runtime.launch import Mode
from fastsac.runtime.versions import is_installed

# Updates after which compiling has paid for itself on a CPU: compile seconds with an empty cache over the seconds saved
# per update, as `python -m bench.compile` measures them (bench/results).  It does not ask whether the cache is warm:
# the choice changes the rounding, and the same command must give the same numbers twice.
COMPILE_PAYS_AFTER = 8_000

# Multiply-adds of the largest matrix product below which more threads than one are not worth a trial.
ONE_THREAD_BELOW = 500_000
WHOLE_SUMS = 512  # batches up to here are summed as a whole by the library of matrix products


@dataclass(frozen=True)
class Plan:
    """A checked configuration and what was chosen for it."""

    config: Config
    spec: EnvSpec
    device: torch.device
    mode: Mode
    cpu_threads: tuple[int, ...]  # of torch on a CPU; of several, the run takes what it measures to be faster
    place: RunDir  # held by this process: `Run` lets it go, or who has no use for the plan
    resume: checkpoint.Found | None  # what the run continues from
    complete: bool  # resume auto, and there is nothing left to do
    notes: tuple[str, ...]
    began: float  # when planning did, on `time.perf_counter`: max_wall_time counts from there, waiting included

    @property
    def run_dir(self) -> Path:
        """The folder that the run writes to."""
        return self.place.path


def make_plan(config: Config) -> Plan:
    """Check everything that can be checked before work starts, choose device and mode, and take the run directory.

    Raises:
        ValueError: the run cannot be made as asked for; one line that says what to change.
    """
    began = time.perf_counter()
    if config.learning_starts >= config.total_steps:
        raise ValueError(
            f"learning_starts {config.learning_starts:,} must be below total_steps {config.total_steps:,}, or nothing "
            "is learned. Raise --total-steps or lower --learning-starts."
        )
    device = choose_device(config.device)
    spec = make_spec(config.env, config.env_kwargs, config.action_limit)
    check_evaluation(config, spec)
    config = config.replace(algo=choose_algo(config, spec))
    check_image(config, spec)
    check_sweep(config, spec)
    mode, why = choose_mode(config, device)
    if mode != "eager":
        compile_cache.check()
    threads = choose_threads(config, spec, mode)
    memory = check_memory(config, spec, device)
    if config.wandb and not is_installed("wandb"):
        raise ValueError('wandb is not installed. Run pip install "fastsac[wandb]", or leave --wandb out.')
    place, is_resumed = claim(config)
    try:
        resume, complete = check_resume(config, spec, place.path) if is_resumed else (None, False)
    except BaseException:
        place.release()
        raise
    device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else threads_text(threads)
    kwargs = [f"env_kwargs {config.env_kwargs}"] if config.env_kwargs else []
    kwargs += [f"in evaluation {config.eval_env_kwargs}"] if config.eval_env_kwargs else []
    obs = "x".join(map(str, spec.image or (spec.obs_dim,)))
    notes = (
        f"{spec.env_id}: obs {obs}, action {spec.action_dim}, {config.algo}, preset {config.preset}, "
        f"{config.num_envs} environments" + (f" x {config.num_members} members" if config.num_members > 1 else ""),
        *([", ".join(kwargs)] if kwargs else []),
        f"device {device} ({device_name}), update {mode}: {why}" + (", bfloat16" if config.bf16 else ""),
        memory,
        *([resume.note] if resume and resume.note else []),
    )
    return Plan(config, spec, device, mode, threads, place, resume, complete, notes, began)


def choose_algo(config: Config, spec: EnvSpec) -> str:
    """The algorithm that `auto` means, or the one asked for.

    Raises:
        ValueError: it is for the other kind of actions.
    """
    algo = registry.resolve_algorithm(config.algo, spec.discrete)
    if registry.get_algorithm(algo).discrete != spec.discrete:
        kind = f"{spec.action_dim} choices" if spec.discrete else f"continuous actions of length {spec.action_dim}"
        raise ValueError(f"algo {algo} cannot act in {spec.env_id}, which has {kind}. Give --algo auto.")
    if config.target_entropy is not None and not registry.get_algorithm(algo).adjusts_alpha:
        raise ValueError(f"target_entropy has no effect on algo {algo}, whose temperature is init_alpha. Leave it out.")
    if not config.backup_entropy and not registry.get_algorithm(algo).adjusts_alpha:
        raise ValueError(f"backup_entropy cannot be left out of algo {algo}, whose value is soft. Leave the flag out.")
    return algo


def check_sweep(config: Config, spec: EnvSpec) -> None:
    """Refuse a sweep of what makes no difference.

    Raises:
        ValueError: the algorithm has no such setting, or has it for all members at once.
    """
    algorithm = registry.get_algorithm(config.algo)(config, spec)
    for name in config.member_setting(0):
        low, high = (algorithm.hyper(config.replace(sweep=(), **{name: value})) for value in (0.25, 0.5))
        starts = name == "init_alpha" and algorithm.adjusts_alpha
        if low == high and not starts:
            raise ValueError(f"{name} cannot be swept with algo {config.algo}: its members do not differ by it.")


def choose_mode(config: Config, device: torch.device) -> tuple[Mode, str]:
    """Eager, compiled or captured, and why; depends on the configuration alone, so that a repeat chooses the same.

    Raises:
        ValueError: what was asked for is not to be had here.
    """
    on_cuda = device.type == "cuda"
    if config.cuda_graphs == "on" and not on_cuda:
        raise ValueError(f"cuda_graphs on needs a CUDA device, got device {device}. Give --cuda-graphs auto.")
    if config.cuda_graphs == "on" and config.compile == "off":
        raise ValueError("cuda_graphs on needs the compiled update. Give --compile auto.")
    if config.compile == "off":
        return "eager", "compile off"
    needed, found = ("C", c_compiler()) if on_cuda else ("C++", cpp_compiler())
    if found is None:
        if config.compile == "on":
            raise ValueError(f"compile on needs a {needed} compiler; none was found. Install g++ or set CC and CXX.")
        return "eager", f"no {needed} compiler found"
    if on_cuda:
        if config.cuda_graphs == "off":
            return "compiled", "CUDA graphs off"
        return "captured", f"CUDA graphs of up to {config.updates_per_graph} updates"
    if config.compile == "on":
        return "compiled", "compile on"
    updates = update_budget(config.total_steps, config.learning_starts, config.utd_ratio)
    if updates < COMPILE_PAYS_AFTER:
        return "eager", f"{updates:,} updates would not win the compile time back"
    return "compiled", f"{updates:,} updates win the compile time back"


def check_evaluation(config: Config, spec: EnvSpec) -> None:
    """Check that the environments of evaluation are of the same sizes.

    Raises:
        ValueError: they are not, or cannot be made.
    """
    if not config.eval_env_kwargs:
        return
    other = make_spec(config.env, config.env_kwargs_of_evaluation, config.action_limit)
    for name in ("obs_dim", "action_dim", "image", "action_bounds", "discrete"):
        if getattr(other, name) != getattr(spec, name):
            raise ValueError(
                f"eval_env_kwargs {config.eval_env_kwargs} make evaluations differ in {name}: "
                f"{getattr(spec, name)} in training, {getattr(other, name)} in evaluation. Leave out what changes it."
            )


def check_image(config: Config, spec: EnvSpec) -> None:
    """Refuse settings that have no sense for images.

    Raises:
        ValueError: observations are images, and are to be normalised.
    """
    if spec.image is not None and config.obs_norm:
        raise ValueError(f"obs_norm is for vectors, and {spec.env_id} has images. Leave it out.")


def choose_threads(config: Config, spec: EnvSpec, mode: Mode) -> tuple[int, ...]:
    """Threads of torch for the learner's products: the number, or two of which the faster is to be taken.

    Only where the numbers do not depend on it: convolutions sum their gradients, products their long sums over a large
    batch, and eager norms their squares, in as many parts as there are threads.
    """
    if config.cpu_threads or num_cpus() == 1:
        return (config.cpu_threads or 1,)
    if spec.image is not None or config.batch_size > WHOLE_SUMS:
        return (num_cpus(),)
    widest = max(config.hidden_dims)
    small = config.num_members * config.batch_size * widest * widest < ONE_THREAD_BELOW
    return (1,) if small or (mode == "eager" and config.max_grad_norm > 0) else (1, num_cpus())


def threads_text(threads: tuple[int, ...]) -> str:
    """`1 thread`, or what is still to be measured."""
    text = " or ".join(map(str, threads))
    what = "whichever is faster" if len(threads) > 1 else "--cpu-threads N for another number"
    return f"{text} thread{'s' * (threads[-1] > 1)}, {what}"


def member_bytes(config: Config, spec: EnvSpec, fuse_for_gpu: bool) -> tuple[int, int]:
    """Bytes that one member takes: its replay, and its networks with moments, targets and copies to act by."""
    obs_dtype = torch.float32 if spec.image is None else torch.uint8
    rows = -(-config.buffer_size // config.num_envs) + 1
    ring = replay.bytes_per_transition(spec.obs_dim, spec.action_dim, obs_dtype) * rows * config.num_envs
    algorithm = registry.get_algorithm(config.algo)(config, spec, fuse_for_gpu)
    state = step.init(algorithm, torch.tensor(0, device="meta"), 1.0)
    copies = 2 if config.on_nan == "rollback" else 1
    networks = copies * sum(t.nbytes for t in pytree.tree_leaves(state)) + 2 * state["params"][algorithm.acts_by].nbytes
    return ring, networks


def check_memory(config: Config, spec: EnvSpec, device: torch.device) -> str:
    """What the members take, in words.

    Raises:
        ValueError: more than the device has free; says what fits.
    """
    m = config.num_members
    ring, networks = member_bytes(config, spec, fuse_for_gpu=device.type != "cpu")
    free = free_memory(device)
    if free is not None and m * (ring + networks) > 0.9 * free.num_bytes:
        fits = int(0.9 * free.num_bytes / (ring + networks))
        transitions = int((0.9 * free.num_bytes / m - networks) / ring * config.buffer_size)
        may_be = transitions >= config.learning_starts  # any smaller replay is refused
        if m > 1 and fits >= 1:
            smaller = f", or all with --buffer-size {transitions}" if may_be else ""
            raise ValueError(
                f"{m} members need {format_bytes(m * (ring + networks))} ({format_bytes(ring)} of replay and "
                f"{format_bytes(networks)} of networks each), but {free.text}. {fits} of them fit{smaller}."
            )
        what = f"Give --buffer-size {transitions} or less" if may_be else "No replay that is large enough fits"
        raise ValueError(
            f"buffer_size {config.buffer_size:,} needs {format_bytes(m * ring)} for {m} member(s), but {free.text}. "
            f"{what}{', or raise the limit' * free.is_limit}."
        )
    each = f"{format_bytes(ring)} for {config.buffer_size:,} transitions, networks {format_bytes(networks)}"
    return f"replay {each}" + (f", for each of {m} members" if m > 1 else "")


def check_resume(config: Config, spec: EnvSpec, run_dir: Path) -> tuple[checkpoint.Found, bool]:
    """The newest checkpoint of `run_dir`, which must fit the configuration.

    Returns:
        The checkpoint, and whether the run is complete, which is an error where it was asked for by name.

    Raises:
        ValueError: no checkpoint, another environment, or sizes that do not fit.
    """
    found = find_checkpoint(run_dir, with_replay=config.checkpoint_replay == "full")
    meta = found.meta
    if meta["env_id"] != spec.env_id:
        raise ValueError(
            f"the checkpoint in {run_dir} is of {meta['env_id']}, got env {spec.env_id}. Resume without --env."
        )
    mine = sizes(config, spec)
    differing = [f"{k} {meta['sizes'].get(k)}, got {v}" for k, v in mine.items() if meta["sizes"].get(k) != v]
    if differing:
        raise ValueError(f"the checkpoint in {run_dir} has {', '.join(differing)}. Leave these flags out.")
    per_member = {name: meta[name] for name in ("env_steps", "grad_steps", "goal_at", "learn_from")} | meta["episodes"]
    if wrong := [name for name, values in per_member.items() if len(values) != config.num_members]:
        raise ValueError(f"the checkpoint in {run_dir} has {wrong[0]} not of {config.num_members} member(s).")
    summary = read_summary(run_dir)
    at_end, interrupted = min(meta["env_steps"]) >= config.total_steps, summary.get("interrupted")
    if config.resume != "auto" and at_end and not interrupted:
        raise ValueError(f"{run_dir} is at its {config.total_steps:,} steps already. Give a larger --total-steps.")
    # Without a summary of this very checkpoint the end of the run is still to be made.
    closed = interrupted is False and summary.get("env_steps") == min(meta["env_steps"])
    return found, config.resume == "auto" and closed and (at_end or summary.get("stopped_by") == "goal")


def find_checkpoint(run_dir: Path, with_replay: bool) -> checkpoint.Found:
    """The newest checkpoint that a run can go on from.

    Args:
        run_dir: the run's folder.
        with_replay: only one whose replay is whole; else that of the newest whole learner goes along if it is whole.

    Raises:
        ValueError: there is none; says if there is one without its replay.
    """
    if with_replay:
        try:
            return checkpoint.find(run_dir)
        except checkpoint.DamagedError as error:
            name = checkpoint.find(run_dir, with_replay=False).folder.name
            remedy = "--checkpoint-replay none goes on from it, with an empty replay."
            raise ValueError(f"{error} The learner of {name} is whole: {remedy}") from None
    found = checkpoint.find(run_dir, with_replay=False)
    try:
        checkpoint.check_files(found.folder, found.meta, with_replay=True)
    except checkpoint.DamagedError as error:
        note = " ".join([found.note, f"{error} Going on without the replay."]).strip()
        return dataclasses.replace(found, note=note)
    return dataclasses.replace(found, with_replay=True)


def sizes(config: Config, spec: EnvSpec) -> dict[str, object]:
    """What must be equal between a checkpoint and the run that continues it."""
    names = (
        "algo", "seed", "seeds", "num_envs", "buffer_size", "num_critics", "critic_layer_norm", "obs_norm",
        "utd_ratio", "learning_starts",
    )  # fmt: skip
    return {
        "obs_dim": spec.obs_dim,
        "action_dim": spec.action_dim,
        "hidden_dims": list(config.hidden_dims),
        "image": None if spec.image is None else list(spec.image),
        "conv_channels": None if spec.image is None else list(config.conv_channels),
        **{name: getattr(config, name) for name in names},
        "sweep": list(config.sweep),
    }
