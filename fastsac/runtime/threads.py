"""How many threads torch computes with on a CPU, where that is left to the program: one or all, whichever is faster.

Threads that wait for each other at every product gain less than their number where nothing else wants the cores, and
lose up to twenty times where something does.  Sizes cannot tell which it is, so that the work itself is timed, and
timed again now and then, and when it has become slow.  The numbers do not depend on the choice: threads share elements,
and no sum is divided among them (`launch.chunk_size`); where sums would be, there is no choice (`plan.choose_threads`).
"""

import time
from collections.abc import Callable

import torch

GAIN = 1.15  # of all threads over one, below which they are not worth the cores
LOOK_S = 2.0  # of computing between two looks at how long a step takes
SLOWER = 2.0  # times the usual, from which on the choice is measured again
AGAIN_S, AGAIN_SOON_S = 60.0, 5.0  # after which it is measured again in any case: at most, and after a new choice
SHARE, SHARE_SOON = 0.01, 0.05  # of the time that measuring may take: at most, and when slow or newly chosen
TRIAL_S = 0.06  # of each trial, about
ROUNDS = 3  # trials of either kind
HOPELESS = 4.0  # times as long as with one thread, from which on one step with all is trial enough


class Threads:
    """Chooses between one thread and `most`.

    `run` runs so many steps of the work, and leaves everything as it was; `steps` are done already.
    """

    chosen: int  # threads now
    step_s: dict[int, float]  # seconds of a step by the number of threads, as measured last
    trials_s: float  # seconds that measuring has taken, in all

    def __init__(
        self,
        most: int,
        run: Callable[[int], None],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.perf_counter,
        steps: int = 0,
    ) -> None:
        self._most, self._run, self._say, self._clock = most, run, say, clock
        self._looked_at = (0.0, steps)
        self._again_s = AGAIN_SOON_S
        self.trials_s = 0.0
        self.measure()
        say(str(self))

    def measure(self) -> None:
        """Time the work with one thread and with all in turn, and take what is faster."""
        began = self._clock()
        self.step_s = self._compare()
        self.chosen = self._most if self.step_s[self._most] * GAIN < self.step_s[1] else 1
        torch.set_num_threads(self.chosen)
        self._usual_s: float | None = None
        self._measured_at = self._clock()
        self._cost_s = self._measured_at - began
        self.trials_s += self._cost_s

    def look(self, spent_s: float, steps: int) -> float:
        """Measure again if it is time, or if steps, which took `spent_s` since the beginning, have become slow.

        Says so if the choice is another.  Returns the seconds that measuring took, mostly none.
        """
        then_s, steps_then = self._looked_at
        if spent_s - then_s < LOOK_S or steps == steps_then:
            return 0.0
        self._looked_at = (spent_s, steps)
        step_s = (spent_s - then_s) / (steps - steps_then)
        if self._usual_s is None:
            self._usual_s = min(step_s, SLOWER * self.step_s[self.chosen])
        is_slow = step_s > SLOWER * self._usual_s
        since_s = self._clock() - self._measured_at
        share = SHARE_SOON if is_slow or self._again_s < AGAIN_S else SHARE
        if since_s * share < self._cost_s or not (is_slow or since_s > self._again_s):
            return 0.0
        before = self.chosen
        self.measure()
        is_new = self.chosen != before  # perhaps by a moment's noise: try it again soon
        self._again_s = AGAIN_SOON_S if is_new else min(2 * self._again_s, AGAIN_S)
        if is_new:
            self._say(str(self))
        return self._cost_s

    def _compare(self) -> dict[int, float]:
        """Seconds of a step by the number of threads: from trials in turn, or from one step where all are hopeless.

        Where something else wants the cores, one step with all threads may take seconds.
        """
        one_s, all_s = self._trial(1), self._time(self._most, 1)
        if all_s > max(TRIAL_S, HOPELESS * one_s):
            return {1: one_s, self._most: all_s}
        trials = {1: [one_s], self._most: [self._trial(self._most)]}
        for _ in range(ROUNDS - 1):
            for threads, found in trials.items():
                found.append(self._trial(threads))
        return {threads: sum(found) / ROUNDS for threads, found in trials.items()}

    def _trial(self, threads: int) -> float:
        """Seconds of a step, from as many chunks of steps as fit into the time of a trial."""
        chunk = max(1, round(TRIAL_S / 5 / self._time(threads, 1)))
        spent, chunks = 0.0, 0
        while spent < TRIAL_S:
            spent, chunks = spent + self._time(threads, chunk), chunks + 1
        return spent / (chunks * chunk)

    def _time(self, threads: int, steps: int) -> float:
        torch.set_num_threads(threads)
        began = self._clock()
        self._run(steps)
        return self._clock() - began

    def __str__(self) -> str:
        times = " and ".join(f"{milliseconds(seconds)} ms with {n}" for n, seconds in self.step_s.items())
        return f"{self.chosen} thread{'s' * (self.chosen > 1)}: an update takes {times} (--cpu-threads N fixes it)"


def milliseconds(seconds: float) -> str:
    """Three digits, and all those before the point."""
    return f"{1000 * seconds:.3g}" if seconds < 1 else f"{1000 * seconds:.0f}"
