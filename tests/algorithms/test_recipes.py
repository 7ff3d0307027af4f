"""Whole recipes, as their presets have them: ways to run agree, members are as alone, nothing needs the host."""

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters
from torch.utils import _pytree as pytree

from fastsac.learning.gradient_step import gradient_step_
from fastsac.learning.learner import make_parts
from tests.support.algorithms import make, spec_of, states
from tests.support.learners import BASE
from tests.support.learners import make as make_learner
from tests.support.loops import run
from tests.support.recipes import tiny

RECIPES = pytest.mark.parametrize("preset", ["flashsac", "fastsac", "simba"])


@RECIPES
@pytest.mark.parametrize("seeds", [1, 2])
def test_recorded_launches_give_the_numbers_of_eager_ones(recorder, preset, seeds):
    settings = {**tiny(preset), "seeds": seeds, "updates_per_launch": 4, "buffer_size": 40, "total_steps": 100}
    eager, captured = make("sac", **settings), make("sac", "captured", **settings)
    assert np.array_equal(run(eager, steps=12, updates=5), run(captured, steps=12, updates=5))
    assert recorder.replayed > 30
    pytree.tree_map(lambda a, b: torch.testing.assert_close(a, b, rtol=0, atol=0), states(eager), states(captured))


@RECIPES
@pytest.mark.parametrize("seeds", [1, 2])
def test_no_operation_of_an_update_needs_the_host(preset, seeds):
    config = BASE.replace(algo="sac", **tiny(preset), seeds=seeds)
    learner = make_parts(config, spec_of("sac"), torch.device("meta"), "eager").learner
    views = pytree.tree_map(lambda t: t[0], learner.buffers) if seeds == 1 else learner.buffers
    for with_actor in (True, False):
        gradient_step_(learner.algorithm, config, views, with_actor)
    with pytest.raises(RuntimeError, match="meta"):  # had it asked for a number
        bool(learner.buffers["sums"].sum() > 0)


@RECIPES
def test_members_out_of_step_learn_as_alone(preset):
    settings = {**tiny(preset), "actor_lr": 0.01, "total_steps": 100}
    many = make_learner(sweep=("utd_ratio=1,0.5",), **settings)
    for due in ([3, 2], [2, 1], [1, 2], [4, 3]):
        many.launch(due)
    for member, utd_ratio in enumerate((1.0, 0.5)):
        alone = make_learner(utd_ratio=utd_ratio, **settings)
        alone.launch([many.grad_steps[member]])
        for name, value in alone.buffers["state"]["params"].items():
            mine = many.buffers["state"]["params"][name][member]
            torch.testing.assert_close(mine, value[0], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.slow
@RECIPES
def test_compiled_is_one_graph_for_each_turn_and_agrees_with_eager(preset):
    torch._dynamo.reset()
    counters.clear()
    settings = {**tiny(preset), "total_steps": 100}
    compiled, eager = make("sac", "compiled", **settings), make("sac", **settings)
    np.testing.assert_allclose(run(compiled), run(eager), rtol=1e-2, atol=1e-3)
    assert not counters["graph_break"]
    turns = 1 + (compiled.learner.algorithm.actor_delay > 1)
    assert counters["stats"]["unique_graphs"] == turns + 1  # updates with and without the actor, and the actor
