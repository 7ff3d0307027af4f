"""The training run: the loop of Soft Actor-Critic, and what happens at its log points.

(Not `train.py`: a package cannot hold both a module and a function, `fastsac.train`, of one name.)
"""

import json
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch

from fastsac import checkpoint
from fastsac.acting.collector import Collector
from fastsac.acting.errors import ActionError, BadStepError, Locate, NotFiniteError, call_env, of_members, try_make
from fastsac.acting.evaluation import rollout
from fastsac.checkpoint.thread import Background, CheckpointError
from fastsac.checkpoint.writer import Rows, Writer
from fastsac.config.settings import Config
from fastsac.disk.errors import Patience
from fastsac.disk.files import write_file
from fastsac.env import FloatArray, VectorEnv, first_line, make_env
from fastsac.learning.learner import copy_tree_, make_parts
from fastsac.nn import philox
from fastsac.report.displays import Display, make_display
from fastsac.report.sinks import METRIC_COLUMNS, Sinks, interquartile_mean, mean_of_finite
from fastsac.run.best_policies import Best
from fastsac.run.nan_guard import Guard
from fastsac.run.plan import Plan, make_plan, sizes
from fastsac.run.result import Result
from fastsac.run.run_dir import check_writable
from fastsac.runtime import precompile
from fastsac.runtime.launch import CaptureError
from fastsac.runtime.signals import Deadline, StopSignals
from fastsac.runtime.threads import Threads
from fastsac.runtime.versions import git_commit, versions

# What ends a run by no fault of the program: the message says all.
ENVIRONMENTS = (BadStepError, NotFiniteError)  # of which any error may be the cause
FAILURES = (*ENVIRONMENTS, CaptureError, CheckpointError)
ERROR_FILES = ("error.txt", "error-fastsac.txt")  # why a run ended; the second where the first is somebody else's
ERROR_HEAD = b"fastsac: the run ended by an error.\n"


class _EvaluationStopped(Exception):
    """An interruption came while an evaluation went on."""


def train(config: Config) -> Result:
    """Train as `config` says.

    Returns:
        The closing figures.

    Raises:
        ValueError: the configuration cannot be run here; nothing was written.
        BadStepError: an environment failed; the state before is saved, and error.txt in the run directory holds more.
        NotFiniteError: an environment or a loss gave NaN or infinity; checkpoints written before are kept.
    """
    plan = make_plan(config)
    if plan.complete:
        plan.place.release()
        return Result.read(plan.run_dir)
    with Run(plan) as run:
        return run.train()


class Run:
    """One training run: owns environments, learner, files and display for its duration; a context manager.

    Args:
        plan: what `make_plan` checked and chose.

    Raises:
        ValueError: the checkpoint to resume from cannot be read.
    """

    def __init__(self, plan: Plan) -> None:
        config = plan.config
        self.plan, self.config = plan, config
        self.start = time.perf_counter()
        self.stopped_by: str | None = None
        self.evaluation_due = False  # one was given up when the run was interrupted
        self._deadline = Deadline(config.max_wall_time, since=plan.began)
        self._signals = StopSignals()
        self.compile_s = 0.0
        self._threads: Threads | None = None
        self.checkpointing_s = 0.0  # that the loop stood still for checkpoints
        self.last_evals: list[dict[str, Any]] = []
        self.goal_at: list[int | None] = [None] * config.num_members  # env_steps when each member reached its goal
        self._open = ExitStack()
        self._open.callback(self._let_go)
        with self._open:  # closes what is open if something below fails
            self.display: Display = make_display(config, config.total_steps)
            self._open.callback(self.display.close)
            self._patience = Patience(self.display.info)
            for note in plan.notes:
                self.display.info(note)
            self._set_up_torch()
            parts = make_parts(config, plan.spec, plan.device, plan.mode)
            self.learner, self.replay, self.normalizer = parts
            state = checkpoint.read(plan.resume) if plan.resume else {}
            # A resumed run goes on with episodes of its own rather than with the first ones again.
            episodes_from = plan.resume.meta["vec_steps"] if plan.resume else 0
            self.env = self._make_env(philox.Purpose.ENV_SEED, config.num_envs, episodes_from)
            self._open.callback(lambda: self.env.close())  # whichever it is then
            self.collector = Collector(config, self.env, *parts)
            self.guard = Guard(config, self.learner, self.normalizer, self.collector, plan.run_dir, self.display.info)
            self._last_row = (time.perf_counter(), 0, 0)
            self._waited = self.collector.waited
            self._rows = {"metrics.csv": 0, "eval.csv": 0}
            self.best = Best(self.learner)
            if plan.resume:
                self._restore(state, plan.resume.meta)
            self.run_dir = plan.run_dir.absolute()  # an environment may change the working directory
            self._writer = Writer(self.run_dir, config.keep_checkpoints, plan.resume, lambda: plan.place.is_held)
            self._open.enter_context(self._signals)
            self._open = self._open.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    # The loop ---------------------------------------------------------------------------------------------------

    def train(self) -> Result:
        """Compile, open the files, and learn; an error leaves word in them."""
        self._compile()
        self._choose_threads()
        self._signals.armed = True  # from here on a signal ends the run with a checkpoint
        self.display.info(f"writing to {self.plan.run_dir}")
        self.sinks = self._open_run_dir()  # after compiling: a Ctrl-C there leaves no run directory behind
        self._open.callback(self.sinks.close)
        for note in self.sinks.notes:
            self.display.info(note)
        self.checkpoints = Background(self._writer, self.sinks, self.plan.device, self.display.info)
        self._open.enter_context(self.checkpoints)
        try:
            result = self._learn()
        except (Exception, SystemExit) as error:
            self._leave_word(error)
            raise
        self._show(result)
        return result

    def _learn(self) -> Result:
        """Soft Actor-Critic (arXiv 1812.05905, algorithm 1), vectorised."""
        config, collector, learner = self.config, self.collector, self.learner
        self.guard.begin()  # before any update of this process: a checkpoint's state is finite
        self._launch_due()  # of the last step before an interruption
        collector.start()  # s_0
        if self.evaluation_due and self._env_steps() < config.total_steps:
            self._evaluate()
        while self._env_steps() < config.total_steps and not self._should_stop():
            before = self._env_steps()
            try:
                collector.send()  # a_t ~ pi(.|s_t); the environments step ...
                learner.launch(collector.due())  # ... while Q, pi and alpha take the gradient steps that are due
                collector.recv()  # D <- D + (s_t, a_t, r_t, s_{t+1})
            except (BadStepError, NotFiniteError) as error:
                self._recover_from(error)
                continue

            self._mind_threads()
            if self._crossed(before, config.log_every):
                self._log()
            if self._crossed(before, config.eval_every):
                self._evaluate()
            if self._crossed(before, config.checkpoint_every):
                with self._patience.writing("a checkpoint"):
                    self._checkpoint()
            if config.reset_envs_at is not None and before < config.reset_envs_at <= self._env_steps():
                self._renew_envs()
        if self._interrupted():
            self.display.info(f"{self.stopped_by}: writing a checkpoint; Ctrl-C or SIGTERM now quits without")
        while not self._interrupted() and not self._reached_goal() and max(collector.due()) > 0:
            self._launch_due()  # of the last step, and again if it had to be taken back
            self.guard.check(parameters=True)
        return self._finish()

    def _launch_due(self) -> None:
        """Launch now what is due: the numbers are those of a launch beside the next vector step."""
        if not self._reached_goal():  # the policy that reached it is the one to keep
            self.learner.launch(self.collector.due())

    def _should_stop(self) -> bool:
        if self.stopped_by is None and self._reached_goal():
            self.stopped_by = "goal"
        return self.stopped_by is not None or self._interrupted()

    def _interrupted(self) -> bool:
        """Whether a signal has come or the time is nearly up; also asked within evaluations, which take long."""
        if self.stopped_by in (None, "goal"):
            if self._signals.received is not None:
                self.stopped_by = self._signals.received
            elif self._deadline.is_near(self._checkpoint_bytes, self.checkpoints.longest_s):
                self.stopped_by = "max_wall_time"
        return self.stopped_by not in (None, "goal")

    def _checkpoint_bytes(self) -> float:
        """About the size of a checkpoint now."""
        filled = min(1.0, self._env_steps() / self.config.buffer_size)
        return self.learner.state_bytes + filled * self.replay.nbytes()

    def _reached_goal(self) -> bool:
        """Whether all members, or one if that is enough, have reached their goal at some time."""
        if self.config.stop_at_episode_return is not None:
            self._note_goals(self.collector.stats.last_means(), self.config.stop_at_episode_return)
        return (any if self.config.stop_when == "any" else all)(at is not None for at in self.goal_at)

    def _note_goals(self, returns: list[float], goal: float) -> None:
        """Keep, and say, which members reach the goal for the first time; they go on as the others do."""
        for member, value in enumerate(returns):
            if self.goal_at[member] is None and value >= goal:
                self.goal_at[member] = self.collector.env_steps[member]
                if self.config.num_members > 1:
                    name, at = self.config.member_name(member), self.goal_at[member]
                    self.display.info(f"{name} reached {goal:g} with {value:.1f} at {at:,} steps")

    def _crossed(self, before: int, every: int) -> bool:
        """Whether a log point was passed; the one at the very end is left to `_finish`."""
        now = self._env_steps()
        return every > 0 and before // every < now // every and now < self.config.total_steps

    def _env_steps(self) -> int:
        return min(self.collector.env_steps)

    def _grad_steps(self) -> int:
        return min(self.learner.grad_steps)

    def _wall_s(self) -> float:
        return time.perf_counter() - self.start

    # Log points: the only places that wait for the device ---------------------------------------------------------

    def _compile(self) -> None:
        if self.plan.mode == "eager":
            return
        readied = precompile.readied() if self.plan.device.type == "cpu" else nullcontext()
        with self.display.stage("compiling the update") as stage, readied:
            self.learner.warm_up()
            self.collector.warm_up()
        self.compile_s = stage.seconds
        self._last_row = (self._last_row[0] + stage.seconds, *self._last_row[1:])  # rates leave compiling out

    def _choose_threads(self) -> None:
        if self.plan.device.type == "cpu" and len(self.plan.cpu_threads) > 1:
            self._threads = Threads(self.plan.cpu_threads[-1], self.learner.rehearse, steps=self._grad_steps())
            self.display.info(str(self._threads))

    def _mind_threads(self) -> None:
        """On a CPU: see now and then whether the number of threads still is the better one."""
        if self._threads is not None and self._threads.look(self.learner.compute_s, self._grad_steps()):
            self.display.info(str(self._threads))

    def _log(self) -> None:
        self.guard.check()
        self.guard.hold()
        restored = False
        with self._patience.writing(str(self.plan.run_dir)):
            restored = self._keep_run_dir()
        with self._patience.writing("a checkpoint"):
            self.checkpoints.check()
            if restored or self.checkpoints.should_retry():
                self._checkpoint()
        now, env_steps, grad_steps = time.perf_counter(), self._env_steps(), self._grad_steps()
        then, env_steps_then, grad_steps_then = self._last_row
        self._last_row = (now, env_steps, grad_steps)
        before, self._waited = self._waited, self.collector.waited
        waited = {key: seconds - before[key] for key, seconds in self._waited.items()}
        rates = {
            "wall_s": self._wall_s(),
            "env_steps_per_s": (env_steps - env_steps_then) / (now - then),
            "grad_steps_per_s": max(0, grad_steps - grad_steps_then) / (now - then),
            "env_wait_s": waited["env"],
            "device_wait_s": waited["device"],
            "host_s": max(0.0, now - then - waited["env"] - waited["device"]),
        }
        episodes, losses = self.collector.stats.take(), self.learner.read_metrics()
        rows = [
            {**self._counters(m), **rates, **losses[m], **episodes[m]} for m in range(self.config.num_members)
        ]  # fmt: skip
        with self._patience.writing("metrics.csv"):
            self.sinks.metrics(rows)
        mean = {key: mean_of_finite(row[key] for row in rows) for key in METRIC_COLUMNS if key in rows[0]}
        recent = [list(returns)[-20:] for returns in self.collector.stats.last_returns]
        mean["episode_return"] = mean_of_finite(r for returns in recent for r in returns)
        mean["eval_return"] = mean_of_finite(e["return_mean"] for e in self.last_evals)
        self.display.update({**mean, "env_steps": env_steps, "grad_steps": grad_steps})

    @contextmanager
    def _aside(self, name: str) -> Iterator[None]:
        """Show what goes on, and leave its time out of the rates of the next row."""
        began = time.perf_counter()
        with self.display.aside(name):
            yield
        self._last_row = (self._last_row[0] + time.perf_counter() - began, *self._last_row[1:])

    def _counters(self, member: int) -> dict[str, Any]:
        return {
            "member": member,
            "env_steps": self.collector.env_steps[member],
            "grad_steps": self.learner.grad_steps[member],
            "seed": self.config.member_seeds[member],
            **self.config.member_setting(member),
        }

    def _recover_from(self, error: Exception) -> None:
        """Return if the vector step can be taken again; else see to a checkpoint and raise.

        A policy of NaNs makes environments fail: where a loss went wrong before, that is what to report.
        """
        rolled_back = self.guard.check(parameters=True)
        if rolled_back and isinstance(error, ActionError):
            return
        if not isinstance(error, ActionError):
            self.collector.undo_act()
        self._rescue()
        raise error

    def _rescue(self) -> None:
        """A checkpoint of the state before an environment failed, if one can be written."""
        with suppress(Exception):
            self.learner.launch(self.collector.due())  # unless it is done: of the step that failed
            self._checkpoint()
            self.checkpoints.wait()
            self.display.info(f"wrote a checkpoint of the state before, at {self._env_steps():,} steps")

    def _evaluate(self) -> None:
        self.evaluation_due = True
        if self._interrupted():  # the run that goes on makes it
            return
        self._launch_due()
        self.guard.check()
        config, m = self.config, self.config.num_members
        locate = self._locate(config.eval_episodes, " in an evaluation")

        def act(obs: FloatArray) -> FloatArray:
            if self._interrupted():
                raise _EvaluationStopped
            members = torch.from_numpy(obs).view(m, config.eval_episodes, -1).to(self.plan.device)
            return self.learner.act_deterministic(members).flatten(0, 1).cpu().numpy()

        try:
            with self._aside("evaluating"):
                # Environments of its own each time, so that a resumed run evaluates as the other would have.
                env = self._make_env(philox.Purpose.EVAL_SEED, config.eval_episodes, self.collector.vec_steps)
                try:
                    per_episode = rollout(env, act, locate)[0].reshape(m, config.eval_episodes)
                finally:
                    call_env(env.close, "close", locate)
        except _EvaluationStopped:
            return
        except (BadStepError, NotFiniteError):
            self.guard.check(parameters=True)  # a policy of NaNs makes environments fail: that is what to report
            self._rescue()
            raise
        self.evaluation_due = False
        self.last_evals = [
            {
                **self._counters(i),
                "wall_s": self._wall_s(),
                "return_mean": float(per_episode[i].mean()),
                "return_std": float(per_episode[i].std()),
                "episodes": config.eval_episodes,
            }
            for i in range(m)
        ]
        with self._patience.writing("eval.csv"):
            self.sinks.evaluation(self.last_evals)
        returns = [e["return_mean"] for e in self.last_evals]
        self.best.update_(returns, self.collector.env_steps)
        mean = mean_of_finite(returns)
        self.display.update({"env_steps": self._env_steps(), "eval_return": mean, "eval_returns": returns})
        if config.stop_at_return is not None:
            self._note_goals(returns, config.stop_at_return)

    def _checkpoint(self) -> None:
        if not self._interrupted():  # else there may be little time, and the run that goes on launches it first
            self._launch_due()
        began = time.perf_counter()
        self.guard.check(parameters=True)
        with self._aside("writing a checkpoint"):
            with self._patience.writing("a checkpoint"):
                self.checkpoints.wait()  # for the one before; should it have failed, this one is tried all the same
            with suppress(OSError):  # rows go on waiting
                self.sinks.flush()
            self.checkpoints.submit(self._env_steps(), *self._state(), self._rows_to_keep())
        self.checkpointing_s += time.perf_counter() - began

    def _state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Tensors, without the rows of the replay, and JSON values: what a continued run needs."""
        state = {
            **self.learner.state_dict(),
            "normalizer": self.normalizer.state_dict(),
            **self.collector.state_dict(),
            "best": self.best.state_dict(),
            **self.guard.state_dict(),
        }
        if self.config.checkpoint_replay == "full":
            state["replay"] = self.replay.cursor()
        return state, self._meta()

    def _rows_to_keep(self) -> Rows | None:
        replay = self.replay
        return Rows(replay.span(), replay.row_bytes, replay.read) if self.config.checkpoint_replay == "full" else None

    def _meta(self) -> dict[str, Any]:
        """What goes into meta.json."""
        began, env_steps, grad_steps = self._last_row
        waited = self.collector.waited
        return {
            "env_id": self.plan.spec.env_id,
            "env_steps": self.collector.env_steps,
            "grad_steps": self.learner.grad_steps,
            "vec_steps": self.collector.vec_steps,
            "wall_s": self._wall_s(),
            "goal_at": list(self.goal_at),  # written while the run goes on and changes it
            "evaluation_due": self.evaluation_due,
            "rollbacks": list(self.guard.rollbacks),
            "learn_from": self.collector.learn_from,
            "last_evals": self.last_evals,
            "episodes": self.collector.stats.finished(),
            "rows": self.sinks.num_rows,
            "last_row": {"env_steps": env_steps, "grad_steps": grad_steps, "ago_s": time.perf_counter() - began},
            "waited": {key: seconds - self._waited[key] for key, seconds in waited.items()},  # since the last row
            "sizes": sizes(self.config, self.plan.spec),
            "action_bounds": self.plan.spec.action_bounds,
        }

    # Start and end ------------------------------------------------------------------------------------------------

    def _set_up_torch(self) -> None:
        """Threads, device and precision, which are put back at the end."""
        self._open.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(self.plan.cpu_threads[-1])  # kernels are compiled for all that they may get
        if self.plan.device.type == "cuda":
            self._open.enter_context(torch.cuda.device(self.plan.device))  # graphs are captured on the current one
            self._open.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
            torch.set_float32_matmul_precision(self.config.matmul_precision)

    def _make_env(self, purpose: philox.Purpose, num_envs: int, counter: int = 0) -> VectorEnv:
        c = self.config
        seeds = [s for seed in c.member_seeds for s in philox.derive_seeds(seed, purpose, num_envs, counter)]
        kwargs = c.env_kwargs_of_evaluation if purpose is philox.Purpose.EVAL_SEED else c.env_kwargs
        make = partial(make_env, c.env, seeds, c.env_threads, kwargs, c.action_limit)
        if not self._signals.armed:
            return try_make(make)
        during = " in an evaluation" if purpose is philox.Purpose.EVAL_SEED else ""
        return call_env(make, "make", self._locate(num_envs, during))

    def _locate(self, num_envs: int, during: str = "") -> Locate:
        """Places of environments, so many of each member, for the errors."""
        return of_members(self.config, num_envs, lambda: self.collector.env_steps, during)

    def _restore(self, state: dict[str, Any], meta: dict[str, Any]) -> None:
        """Take over a checkpoint.

        Raises:
            ValueError: its parts are not those of this run.
        """
        self.learner.load_state_dict(state)
        copy_tree_(self.normalizer.state_dict(), state.get("normalizer"), "normalizer")
        self.collector.load_state_dict(state)
        self.best.load_state_dict(state.get("best", {}))
        self.guard.load(state, meta["rollbacks"])
        self.collector.env_steps = list(meta["env_steps"])
        self.collector.learn_from = list(meta["learn_from"])
        if "replay" in state:
            self.replay.load_state_dict(state["replay"])
        else:  # learning waits until there is a batch again
            self.collector.learn_from = [steps + self.config.batch_size for steps in meta["env_steps"]]
        self.collector.stats.load_finished(meta["episodes"])
        self.goal_at, self.last_evals, self._rows = meta["goal_at"], meta["last_evals"], meta["rows"]
        self.evaluation_due = meta["evaluation_due"]
        self.start -= meta["wall_s"]
        row = meta["last_row"]
        self._last_row = (time.perf_counter() - row["ago_s"], row["env_steps"], row["grad_steps"])
        self._waited = {key: seconds - meta["waited"][key] for key, seconds in self.collector.waited.items()}

    def _renew_envs(self) -> None:
        """What stopping and resuming here does: other environments, and new episodes in them."""
        self._launch_due()
        self.env.close()
        self.env = self._make_env(philox.Purpose.ENV_SEED, self.config.num_envs, self.collector.vec_steps)
        self.collector.env = self.env
        self.collector.reset()

    def _open_run_dir(self) -> Sinks:
        self.plan.place.start()
        if not self.plan.resume and (aside := self.plan.place.set_aside()):
            self.display.info(f"an earlier start left no checkpoint: its tables are in {aside} now")
        self._write_config()
        wandb_config = json.loads(self._settings()) if self.config.wandb else None
        swept = tuple(self.config.member_setting(0))
        return Sinks(self.run_dir, swept, self.config.tensorboard, wandb_config, keep=self._rows)

    def _settings(self) -> str:
        """What config.json holds."""
        return self.config.replace(resume=None, run_dir=str(self.plan.run_dir), wait_for_lock=0.0).to_json()

    def _write_config(self) -> None:
        write_file(self.run_dir / "config.json", self._settings().encode())

    def _keep_run_dir(self) -> bool:
        """Put back what is gone of the run directory; returns whether there was anything.

        Raises:
            OSError: it cannot be written.
        """
        place, gone = self.plan.place, []
        if not place.is_held:
            place.acquire_again(is_ours=self.sinks.are_there())
        check_writable(self.run_dir)
        if not (self.run_dir / "config.json").exists():
            self._write_config()
            gone = ["config.json"]
        if gone := [*gone, *self.sinks.restore()]:
            self.display.info(f"{', '.join(gone)} of {self.plan.run_dir} had disappeared: written again")
        return bool(gone)

    def _finish(self) -> Result:
        up_to_date = [row["grad_steps"] for row in self.last_evals] == self.learner.grad_steps
        if not self._interrupted() and self._env_steps() > self._last_row[1]:  # else the resumed run completes the row
            self._log()
        if not self._interrupted() and not up_to_date:
            self._evaluate()
        interrupted, stopped_by = self._interrupted(), self.stopped_by or "total_steps"
        self._keep_run_dir()  # what cannot be written now is an error: the results would be lost
        self.sinks.flush()
        self._checkpoint()
        self.checkpoints.wait()
        if self._writer.has_damage:  # which nobody would write again any more
            self._checkpoint()
            self.checkpoints.wait()
        result = self._result(interrupted, stopped_by)
        result.write(self._about())
        for path in self._error_files():  # of a run that this one continued
            path.unlink()
        return result

    def _result(self, interrupted: bool, stopped_by: str) -> Result:
        """The figures so far."""
        return Result(
            run_dir=self.plan.run_dir,
            env_steps=self._env_steps(),
            grad_steps=self._grad_steps(),
            wall_s=self._wall_s(),
            compile_s=self.compile_s,
            eval_return_mean=mean_of_finite(e["return_mean"] for e in self.last_evals),
            eval_return_std=mean_of_finite(e["return_std"] for e in self.last_evals),
            interrupted=interrupted,
            stopped_by=stopped_by,
            members=[self._member_summary(m) for m in range(self.config.num_members)],
        )

    def _leave_word(self, error: BaseException) -> None:
        """Write what ended the run into its folder, as far as that can be done: the error itself is what to report."""
        if not self.plan.place.is_held:
            return
        with suppress(Exception):
            paths = [self.run_dir / name for name in ERROR_FILES]
            path = next((p for p in paths if not p.exists() or p in self._error_files()), paths[-1])
            write_file(path, ERROR_HEAD + "".join(traceback.format_exception(error)).encode(errors="replace"))
            error.add_note(f"See {self.plan.run_dir / path.name}.")
        with suppress(Exception):
            text = str(error) if isinstance(error, FAILURES) else f"{type(error).__name__}: {first_line(error)}"
            about = {**self._about(), "error": " ".join(text.split())}
            self._result(interrupted=True, stopped_by="error").write(about)

    def _error_files(self) -> list[Path]:
        """Those that are there and are ours: a user may have files of such names."""
        paths = [self.run_dir / name for name in ERROR_FILES]
        return [path for path in paths if path.is_file() and path.read_bytes().startswith(ERROR_HEAD)]

    def _let_go(self) -> None:
        """Let others have the run directory, unless the thread is still writing to it while the program ends."""
        if hasattr(self, "checkpoints") and self.checkpoints.is_writing:
            self.plan.place.keep()
        else:
            self.plan.place.release()

    def _show(self, result: Result) -> None:
        self.display.table(
            {
                "env steps": f"{result.env_steps:,}",
                "updates": f"{result.grad_steps:,}",
                "wall seconds": f"{result.wall_s:.1f}, of which compiling {result.compile_s:.1f}",
                "evaluation return": self._return_text(result),
            }
        )

    def _return_text(self, result: Result) -> str:
        returns = [e["return_mean"] for e in self.last_evals]
        if not returns:
            return "-"
        if len(returns) == 1:
            return f"{result.eval_return_mean:.1f} +- {result.eval_return_std:.1f}"
        return (
            f"{result.eval_return_mean:.1f} on average, {interquartile_mean(returns):.1f} interquartile mean, "
            f"{min(returns):.1f} to {max(returns):.1f}"
        )

    def _member_summary(self, member: int) -> dict[str, Any]:
        last = self.last_evals[member] if self.last_evals else {"return_mean": None, "return_std": None}
        return {
            **self._counters(member),
            "goal_at": self.goal_at[member],
            "eval_return_mean": last["return_mean"],
            "eval_return_std": last["return_std"],
        }

    def _about(self) -> dict[str, Any]:
        """What summary.json says beside the figures."""
        return {
            "env_id": self.plan.spec.env_id,
            "env_kwargs": self.config.env_kwargs,
            "eval_env_kwargs": self.config.eval_env_kwargs,
            "algo": self.config.algo,
            "preset": self.config.preset,
            "eval_episodes": self.config.eval_episodes,
            "checkpoints": {
                "written": self.checkpoints.written,
                "loop_s": self.checkpointing_s,
                "longest_s": self.checkpoints.longest_s,
                "thread_cpu_s": self.checkpoints.thread_cpu_s,
            },
            "device": str(self.plan.device),
            "mode": self.plan.mode,
            "versions": versions(),
            "git_commit": git_commit(),
        }
