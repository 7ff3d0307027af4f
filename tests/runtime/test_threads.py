"""One thread or all, by what the work takes; numbers that do not depend on it."""

import pytest
import torch
from torch.utils import _pytree as pytree

from fastsac.config.shares import PartOfAgent
from fastsac.env import make_spec
from fastsac.learning.learner import Learner
from fastsac.run import plan
from fastsac.run.plan import choose_threads, make_plan
from fastsac.run.result import Result
from fastsac.run.trainer import Run
from fastsac.runtime import threads
from fastsac.runtime.threads import Threads
from tests.support.image_env import make_spec as image_spec
from tests.support.learners import fill, make_filled
from tests.support.runs import BASE, rows


class Machine:
    """A clock that runs while steps are made, by the number of threads."""

    def __init__(self, one_s, all_s):
        self.now, self.step_s, self.steps = 0.0, {1: one_s, 2: all_s}, 0

    def run(self, steps):
        self.steps += steps
        self.now += steps * self.step_s[torch.get_num_threads()]

    def train(self, chosen, seconds):
        """Work on; what was spent and done so far."""
        steps = max(1, int(seconds / self.step_s[chosen.chosen]))
        self.done = getattr(self, "done", 0) + steps
        self.spent = getattr(self, "spent", 0.0) + steps * self.step_s[chosen.chosen]
        self.now += steps * self.step_s[chosen.chosen]
        before = chosen.chosen
        chosen.look(self.spent, self.done)
        return chosen.chosen != before


@pytest.fixture(autouse=True)
def one_thread_again():
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize(("all_s", "chosen"), [(0.0026, 2), (0.0039, 1), (0.07, 1)])
def test_all_threads_are_taken_where_they_gain(all_s, chosen):
    machine = Machine(0.004, all_s)
    found = Threads(2, machine.run, print, lambda: machine.now)
    assert found.chosen == torch.get_num_threads() == chosen
    assert str(found).startswith(f"{chosen} thread{'s' if chosen > 1 else ''}: an update takes 4 ms with 1 and ")
    assert "--cpu-threads" in str(found)


@pytest.mark.parametrize("all_s", [0.07, 1.7])
def test_one_step_is_trial_enough_of_threads_that_are_hopelessly_slower(all_s):
    machine = Machine(0.0003, all_s)
    found = Threads(2, machine.run, print, lambda: machine.now)
    assert found.chosen == 1
    assert found.step_s[2] == pytest.approx(all_s)
    assert found.trials_s == pytest.approx(machine.now)
    assert machine.now < all_s + 0.1
    slow = Machine(0.5, 1.9)  # nothing that one step could decide
    Threads(2, slow.run, print, lambda: slow.now)
    assert slow.now > 3 * (0.5 + 1.9)


def test_a_core_that_is_taken_away_is_noticed_within_seconds_and_its_return_within_a_minute_or_so():
    machine = Machine(0.004, 0.0026)
    found = Threads(2, machine.run, print, lambda: machine.now)
    for _ in range(10):
        assert not machine.train(found, 3.0)
    machine.step_s = {1: 0.004, 2: 0.06}
    began = machine.now
    assert machine.train(found, 3.0)
    assert (found.chosen, torch.get_num_threads()) == (1, 1)
    assert machine.now - began < 5
    machine.step_s = {1: 0.004, 2: 0.0026}
    began = machine.now
    while not machine.train(found, 3.0):
        assert machine.now - began < 300
    assert found.chosen == 2


def test_a_choice_by_a_moment_s_noise_is_put_right_within_seconds():
    machine = Machine(0.004, 0.06)
    found = Threads(2, machine.run, print, lambda: machine.now)
    machine.step_s = {1: 0.004, 2: 0.0026}
    while not machine.train(found, 3.0):
        assert machine.now < 20
    assert found.chosen == 2


@pytest.mark.parametrize("all_s", [0.0039, 0.06, 0.5])
def test_measuring_takes_a_small_share_of_the_time(all_s):
    machine = Machine(0.004, all_s)
    found = Threads(2, machine.run, print, lambda: machine.now)
    while machine.now < 3600:
        machine.train(found, 3.0)
    assert machine.spent > 0.98 * machine.now


def test_small_updates_take_one_thread_without_a_trial(monkeypatch):
    monkeypatch.setattr(plan, "num_cpus", lambda: 2)
    spec = make_spec(BASE.env)
    assert choose_threads(BASE, spec, "eager") == (1,)
    wide = BASE.replace(hidden_dims=(256, 256), batch_size=256, learning_starts=256)
    assert choose_threads(wide, spec, "eager") == choose_threads(wide, spec, "compiled") == (1, 2)
    assert choose_threads(wide.replace(cpu_threads=2), spec, "eager") == (2,)
    assert choose_threads(PartOfAgent.of(wide, 0, 2), spec, "compiled") == (1,), (
        "all processes would have to try at once"
    )
    # Where sums would depend on the number of threads, it does not depend on the hour.
    clipped = wide.replace(max_grad_norm=1.0)
    assert [choose_threads(clipped, spec, mode) for mode in ("eager", "compiled")] == [(1,), (1, 2)]
    assert choose_threads(wide, image_spec("Side", {}, None), "compiled") == (2,)
    assert choose_threads(wide.replace(batch_size=1024, learning_starts=1024, buffer_size=2000), spec, "compiled") == (
        2,
    )


def train_with(tmp_path, monkeypatch, name, **changes):
    """A run of 2 cores whose choice changes all the time, or is fixed."""
    monkeypatch.setattr(plan, "num_cpus", lambda: 2)
    monkeypatch.setattr(plan, "ONE_THREAD_BELOW", 0)
    if "cpu_threads" not in changes:
        monkeypatch.setattr(threads, "LOOK_S", 0.0)
        monkeypatch.setattr(threads, "SHARE", 1e9)
        monkeypatch.setattr(threads, "SHARE_SOON", 1e9)
        monkeypatch.setattr(threads, "AGAIN_S", 0.0)
        monkeypatch.setattr(threads, "AGAIN_SOON_S", 0.0)
        monkeypatch.setattr(threads, "GAIN", 1.0)
    settings = {"hidden_dims": (64, 64), "batch_size": 64, "learning_starts": 64, "total_steps": 120, **changes}
    with Run(make_plan(BASE.replace(run_dir=str(tmp_path / name), **settings))) as training:
        result = training.train()
    return result.run_dir


def test_the_numbers_do_not_depend_on_threads_nor_on_trials(tmp_path, monkeypatch, capsys):
    tried = []
    rehearse = Learner.rehearse

    def note_and_rehearse(learner, num_steps):
        tried.append(num_steps)
        rehearse(learner, num_steps)

    monkeypatch.setattr(Learner, "rehearse", note_and_rehearse)
    folders = [train_with(tmp_path, monkeypatch, f"{n}", cpu_threads=n) for n in (1, 2)]
    assert not tried
    folders.append(train_with(tmp_path, monkeypatch, "auto"))
    assert len(tried) > 20
    out = capsys.readouterr().out
    assert "1 or 2 threads, whichever is faster" in out
    spent = [Result.read(folder).threads_s for folder in folders]
    assert spent[:2] == [0.0, 0.0]
    assert spent[2] > 0
    assert f"compiling 0.0, trying threads {spent[2]:.1f}\n" in out
    times = {"wall_s", "env_steps_per_s", "grad_steps_per_s", "env_wait_s", "device_wait_s", "host_s"}
    first, *others = [rows(folder / "metrics.csv", times) for folder in folders]
    assert all(other == first for other in others)


@pytest.mark.parametrize("changes", [{}, {"max_grad_norm": 1.0, "hidden_dims": (512, 512)}], ids=["batch", "norm"])
@pytest.mark.slow
def test_what_two_threads_compile_gives_the_numbers_of_one(changes):
    """A batch of 512 with 2 actions is enough for Inductor, left alone, to divide a sum among two threads."""
    torch.set_num_threads(2)
    parts = make_filled("compiled", batch_size=512, learning_starts=512, buffer_size=2000, **changes)
    fill(parts, 300)
    learner = parts.learner
    before = pytree.tree_map(torch.clone, learner.buffers["state"])
    results = []
    for n in (1, 2):
        torch.set_num_threads(n)
        pytree.tree_map(lambda mine, saved: mine.copy_(saved), learner.buffers["state"], before)
        learner.launch([20])
        results.append(pytree.tree_map(torch.clone, learner.buffers["state"]))
    pairs = zip(*map(pytree.tree_leaves, results), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)
