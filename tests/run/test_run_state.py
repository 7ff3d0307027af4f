"""The state of a run goes to JSON and back, and a state that is none is refused in one line."""

import json

import pytest

from fastsac import checkpoint
from fastsac.checkpoint.writer import save
from fastsac.env import make_spec
from fastsac.run.run_state import RunState, check_resume
from tests.support.runs import BASE, run


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    result = run(tmp_path_factory.mktemp("state"), seeds=2, eval_every=20)
    return checkpoint.find(result.run_dir)


def test_a_state_goes_to_json_and_back(found):
    state = RunState.from_json(found.meta)
    assert len(state.env_steps) == len(state.last_evals) == 2
    again = json.loads(json.dumps(state.to_json()))
    assert RunState.from_json(again) == state
    assert again.items() <= found.meta.items()


def test_a_member_keeps_its_own_entries(found):
    state = RunState.from_json(found.meta)
    alone = state.of_member(1, {"algo": "sac"}, {"eval.csv": 3})
    assert alone.env_steps == state.env_steps[1:]
    assert alone.episodes.last_returns == state.episodes.last_returns[1:]
    assert alone.last_evals == [{**state.last_evals[1], "member": 0}]
    assert (alone.sizes, alone.tables) == ({"algo": "sac"}, {"eval.csv": 3})
    assert alone.vec_steps == state.vec_steps


def test_settings_that_a_checkpoint_does_not_know_yet_had_their_defaults(tmp_path):
    """A run of an older version goes on, but not with another activation function than it had."""
    result = run(tmp_path)
    found = checkpoint.find(result.run_dir)
    meta = {**found.meta, "sizes": {k: v for k, v in found.meta["sizes"].items() if k != "activation"}}
    older = tmp_path / "older"
    older.mkdir()
    save(older, 62, checkpoint.read(found), meta)
    config = BASE.replace(total_steps=120, algo="sac")
    assert check_resume(config, make_spec(BASE.env), older).state.sizes == meta["sizes"]
    with pytest.raises(ValueError, match=r"has activation relu, got elu\. Leave these flags out\."):
        check_resume(config.replace(activation="elu"), make_spec(BASE.env), older)


@pytest.mark.parametrize(
    "change",
    [
        {"env_steps": "many"},
        {"env_steps": [1]},
        {"goal_at": [None, 0.5]},
        {"episodes": {"returns": [[]], "lengths": [[]]}},
        {"last_evals": [{"member": 0}, {"member": 1}]},
        {"last_row": None},
        {"wall_s": 10**400},
    ],
)
def test_another_meta_json_is_refused_in_one_line(found, change):
    with pytest.raises(ValueError, match=r"^[^\n]*meta\.json|^env_steps|must be"):
        RunState.from_json({**found.meta, **change})
