"""The training run: what it owns, and the loop of Soft Actor-Critic.

(Not `train.py`: a package cannot hold both a module and a function, `fastsac.train`, of one name.)
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, Self

from fastsac import checkpoint
from fastsac.acting.collector import Collector
from fastsac.acting.errors import BadStepError, NotFiniteError
from fastsac.checkpoint.reader import Tree
from fastsac.config.settings import Config
from fastsac.disk.errors import DiskErrorTolerance
from fastsac.learning.learner import make_parts
from fastsac.learning.replay import Ring
from fastsac.nn.reduction import ALONE
from fastsac.report.displays import Display, QuietDisplay, make_display
from fastsac.run import ending
from fastsac.run.callbacks import Callback, Callbacks, check_callbacks
from fastsac.run.checkpointer import Checkpointer, restore
from fastsac.run.evaluator import BestPolicies, Evaluator, evaluate, make_training_envs
from fastsac.run.files import NoFiles, RunFiles
from fastsac.run.log_points import LogPoints
from fastsac.run.merging import own, own_state
from fastsac.run.nan_guard import NanGuard
from fastsac.run.plan import Plan, make_plan
from fastsac.run.prefill import begin_, ring_of
from fastsac.run.processes import about_reductions, shared_by
from fastsac.run.result import Result
from fastsac.run.rows import RowClock
from fastsac.run.stop_rule import StopRule
from fastsac.run.together import Together
from fastsac.runtime import compile_cache, precompile
from fastsac.runtime.signals import Deadline, StopSignals
from fastsac.runtime.threads import Threads
from fastsac.runtime.torch_settings import torch_settings
from fastsac.runtime.world import join

BEING_LINKED_S = 60  # seconds that a library may take to be written, at most


def train(config: Config, notes: Sequence[str] = (), callbacks: Sequence[Callback] = (), quiet: bool = False) -> Result:
    """Train as `config` says; returns the closing figures.

    Args:
        config: the settings.
        notes: what to say first.
        callbacks: called with each `Event`.
        quiet: print warnings alone.

    Raises:
        ValueError: the configuration cannot be run here; nothing was written.
        BadStepError: an environment failed; the state before is saved, and error.txt in the run directory holds more.
        NotFiniteError: an environment or a loss gave NaN or infinity; checkpoints written before are kept.
    """
    callbacks = check_callbacks(callbacks)
    with join(config.parallel) as world:
        plan = make_plan(config, notes, world)
        if plan.is_complete:
            plan.place.release()
            return Result.read(plan.run_dir)
        with Run(plan, display=QuietDisplay(plan.config) if quiet else None, callbacks=callbacks) as run:
            return run.train()


class Run:
    """One training run: owns environments, learner, files and display for its duration; a context manager.

    `train` does all of it; `start`, `step` until `is_over`, and `finish` are its parts.

    Args:
        plan: what `make_plan` checked and chose.
        evaluator: evaluates the policies.
        display: shows the progress; None is as `make_display` chooses.
        callbacks: called with each `Event`; an error of theirs ends the run after a checkpoint.

    Raises:
        ValueError: a callback cannot be called, the environments cannot be made, or the checkpoint to resume from
            cannot be read.  The run directory is let go of then.
    """

    def __init__(
        self,
        plan: Plan,
        evaluator: Evaluator = evaluate,
        display: Display | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        config, began = plan.share, time.perf_counter()
        self.plan, self.config = plan, config
        self.compile_s = 0.0
        self.threads: Threads | None = None
        self._open = ExitStack()
        self._open.callback(plan.place.release)
        with self._open:  # closes what is open if something below fails
            callbacks = check_callbacks(callbacks)
            self.display = display or self._make_display()
            self._open.callback(self.display.close)
            say, warn = self.display.info, self.display.warn
            self._say_plan()
            tolerance = DiskErrorTolerance(warn)
            self.callbacks = Callbacks(self, callbacks if plan.world.is_first else (), tolerance)
            # Kernels are compiled for all the threads that they may get.
            self._open.enter_context(torch_settings(plan.device, plan.cpu_threads[-1], config.matmul_precision))
            demonstrations = plan.prefill.take() if plan.prefill else None
            world = plan.world
            tensors = world.agreed(self._read_checkpoint)
            self._make_agent(ring_of(demonstrations, config))
            self.display.follow(lambda: (min(self.collector.env_steps), self.grad_steps))
            self.guard = NanGuard(self.parts, self.collector, plan.run_dir, warn)
            self.best_policies = BestPolicies(self.learner)
            self.clock = RowClock(self.collector, self.learner, began)
            self._signals = self._open.enter_context(StopSignals())
            deadline = Deadline(config.max_wall_time, since=plan.began)
            self.stop_rule = StopRule(config, self._signals, deadline, say, plan.world.is_alone)
            self.together = Together(self)
            self.files = (RunFiles if world.is_first else NoFiles)(plan, self.display)
            self._open.callback(self.files.close)
            self.checkpointer = Checkpointer(self, tolerance)
            self._open.push(self.checkpointer.close)
            self.log_points = LogPoints(self, evaluator, tolerance)
            if plan.resume:
                state = own_state(plan.resume.state, config)
                world.agreed(lambda: restore(self, tensors, state))
            else:
                begin_(demonstrations, self.parts)
            self._open = self._open.pop_all()

    def _say_plan(self) -> None:
        for note in self.plan.notes:
            self.display.info(note)
        resume = self.plan.resume
        if resume and resume.found.note and self.plan.world.is_first:
            self.display.warn(resume.found.note)

    def _make_agent(self, ring: Ring | None) -> None:
        """The learner, the environments, and what collects from them; `ring` is of demonstrations."""
        plan, config = self.plan, self.config
        reduction, tally = shared_by(plan)
        self.parts = make_parts(config, plan.spec, plan.device, plan.mode, ring, reduction)
        self.learner, self.replay = self.parts.learner, self.parts.replay
        if about := about_reductions(self.learner):
            self.display.info(about)
        # A resumed run goes on with episodes of its own rather than with the first ones again.
        with self.display.aside("making the environments"):
            vec_steps = plan.resume.state.vec_steps if plan.resume else 0
            self.env = plan.world.agreed(lambda: make_training_envs(config, vec_steps))
        self._open.callback(lambda: self.env.close())  # whichever it is then
        self.collector = Collector(config, self.env, *self.parts, tally)
        if reduction is not ALONE:  # whose graphs must go before the processes part
            self._open.callback(self.learner.release)
            self._open.callback(self.collector.release)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    # The loop: Soft Actor-Critic (arXiv 1812.05905, algorithm 1), vectorised ----------------------------------------

    def train(self) -> Result:
        """Learn until the steps are done or something ends the run; an error leaves word in the run directory."""
        self.start()
        with ending.leaving_word(self):
            while not self.is_over:
                self.step()
            result = self.finish()
        self.display.table(ending.closing_table(result, self.log_points.last_evals))
        self.callbacks.end(result)
        return result

    def start(self) -> None:
        """Compile, open the files, and take the first observation."""
        self._compile()
        if self.plan.device.type == "cpu" and len(self.plan.cpu_threads) > 1:
            self.threads = Threads(
                self.plan.cpu_threads[-1], self.learner.rehearse, self.display.info, steps=self.grad_steps
            )
            self.clock.set_aside(self.threads.trials_s)
        self._signals.armed = True  # from here on a signal ends the run with a checkpoint
        self.files.open()  # a Ctrl-C before leaves no run directory behind
        with ending.leaving_word(self):
            self.update_stop_rule()
            self.together.agree()
            self.catch_up()  # of the last step before an interruption
            with self.display.aside("resetting the environments"):
                self.collector.start()  # s_0
            if self.log_points.evaluation_due and self.env_steps < self.config.total_steps:
                self.log_points.evaluate()

    @property
    def is_over(self) -> bool:
        """Whether there is no further step to take: all are done, or the stop rule ends the run."""
        return self.env_steps >= self.config.total_steps or self.stop_rule.reason is not None

    def step(self) -> None:
        """One vector step, the gradient steps that are due beside it, and the log points that it passes."""
        before = self.env_steps
        try:
            self.collector.send()  # a_t ~ pi(.|s_t); the environments step ...
            self.learner.launch(self.collector.due())  # ... while Q, pi and alpha take the gradient steps that are due
            self.collector.recv()  # D <- D + (s_t, a_t, r_t, s_{t+1})
        except (BadStepError, NotFiniteError) as error:
            ending.recover_from(self, error)
            return
        self.update_stop_rule()
        if self.threads is not None:
            self.clock.set_aside(self.threads.look(self.learner.compute_s, self.grad_steps))
        if self.together.meets():
            self.log_points.pass_by(before)

    def catch_up(self) -> None:
        """Launch what is due, unless the goal is reached; gives the numbers of a launch beside the next vector step."""
        if not self.stop_rule.has_reached_goal:  # the policy that reached it is the one to keep
            self.learner.launch(self.collector.due())

    def finish(self) -> Result:
        """Take the gradient steps that are still due, evaluate, and write everything."""
        if not self.update_stop_rule():
            self.display.info(f"{self.stop_rule.reason}: writing a checkpoint; Ctrl-C or SIGTERM now quits without")
        while self.update_stop_rule() and not self.stop_rule.has_reached_goal and max(self.collector.due()) > 0:
            self.catch_up()  # of the last step, and again if it had to be taken back
            self.guard.check(parameters=True)
        if self.update_stop_rule() and self.env_steps > self.log_points.logged_at:  # else the resumed run completes it
            self.log_points.log()
        last_evals = self.together.own(self.log_points.last_evals)
        up_to_date = [row["grad_steps"] for row in last_evals] == self.learner.grad_steps
        if self.update_stop_rule() and not self.together.is_true_of_all(up_to_date):
            self.log_points.evaluate()
        self.together.agree()
        interrupted, stopped_by = not self.update_stop_rule(), self.stop_rule.reason or "total_steps"
        self.files.restore()  # a disk that refuses now is an error: the results would be lost
        self.files.flush()
        with self.display.aside("writing the last checkpoint"):
            self.checkpointer.write_last()
        self.checkpointer.tell()
        return ending.close(self, interrupted, stopped_by)

    def update_stop_rule(self, eval_returns: Sequence[float] = ()) -> bool:
        """Let the stop rule decide anew, also within evaluations, which take long; returns if nothing interrupts it.

        Args:
            eval_returns: of each member, the mean of the evaluation just made.
        """
        means = self.collector.stats.last_means() if self.config.stop_at_episode_return is not None else ()
        nbytes, longest_s = self.checkpointer.nbytes, self.checkpointer.thread.longest_s
        self.stop_rule.update(self.collector.env_steps, nbytes, longest_s, means, eval_returns)
        return not self.stop_rule.is_interrupted

    @property
    def env_steps(self) -> int:
        """Environment steps of the member that has made the fewest; of several processes, when they met last."""
        return self.together.env_steps

    @property
    def grad_steps(self) -> int:
        """Gradient steps of the member that has made the fewest."""
        return min(self.learner.grad_steps)

    def _read_checkpoint(self) -> Tree:
        """The part of this process of the checkpoint to go on from, without rows; nothing where the run is new."""
        plan = self.plan
        if plan.resume is None:
            return {}
        return own(checkpoint.read_state(plan.resume.found), self.config, plan.world.rank, plan.world.size)

    def _make_display(self) -> Display:
        config = self.plan.config
        if self.plan.world.is_first:
            return make_display(config, config.total_steps, self.plan.device.type)
        return QuietDisplay(config)

    def _compile(self) -> None:
        if self.plan.mode == "eager":
            return
        beside = precompile.precompiling() if self.plan.device.type == "cpu" else nullcontext()
        began = time.perf_counter()
        compile_cache.remove_broken(older_than_s=BEING_LINKED_S)
        try:
            with self.display.stage("compiling the update"), beside, self.plan.world.explaining():
                self.learner.warm_up()
                self.collector.warm_up()
        except BaseException:  # a terminal sends Ctrl-C to the linker, too
            compile_cache.remove_broken(older_than_s=0)
            raise
        self.compile_s = time.perf_counter() - began
        self.clock.set_aside(self.compile_s)  # rates leave compiling out

    @contextmanager
    def aside(self, name: str) -> Iterator[None]:
        """Show what goes on inside, and leave its time out of the rates of the next row."""
        began = time.perf_counter()
        with self.display.aside(name):
            yield
        self.clock.set_aside(time.perf_counter() - began)
