"""The first updates of every algorithm beside stored figures: a change that should not change numbers, does not.

`python tests/golden/test_first_updates.py` writes the figures anew, for a change that is meant to.  `make golden`
compares two commits bit for bit; the tolerance here is for other processors, whose instructions round differently.
"""

import json
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1])] if str(HERE.parents[1]) not in sys.path else []  # where it is run as a script

from fastsac.env import EnvSpec  # noqa: E402
from fastsac.learning.learner import make_parts  # noqa: E402
from tests.support.learners import BASE, SPEC, fill  # noqa: E402

FIGURES = HERE / "first_updates.json"
UPDATES = 12
CASES = {
    "sac": {"algo": "sac"},
    "sac-v1": {"algo": "sac-v1", "init_alpha": 0.2},
    "sac-discrete": {"algo": "sac-discrete"},
    "sql": {"algo": "sql", "init_alpha": 0.3},
    "sql-discrete": {"algo": "sql-discrete", "init_alpha": 0.5},
    "members": {"algo": "sac", "seeds": 2, "actor_delay": 2},
    "sweep": {"algo": "sac", "sweep": ("gamma=0.9,0.99",)},
    "n-step": {"algo": "sac", "n_step": 3, "obs_norm": True},
    "n-step without entropy": {"algo": "sac", "n_step": 3, "n_step_entropy": False, "backup_entropy": False},
    "n-step discrete": {"algo": "sac-discrete", "n_step": 2},
    "clipped": {"algo": "sac", "max_grad_norm": 0.5, "critic_layer_norm": True, "num_critics": 3},
    "fixed temperature": {"algo": "sac", "learn_alpha": False, "init_alpha": 0.1, "reward_scale": 3.0},
}


def figures(case):
    """Means of the losses over the first updates and sums of the parameters after them, of each member."""
    changes = CASES[case]
    discrete = changes["algo"].endswith("discrete")
    spec = EnvSpec(SPEC.env_id, SPEC.obs_dim, SPEC.action_dim, SPEC.obs_layout, None, discrete=discrete)
    parts = make_parts(BASE.replace(**changes), spec, torch.device("cpu"), "eager")
    fill(parts)
    learner, action = parts.learner, parts.replay.rows.action
    if discrete:
        choice = action.argmax(-1)
        action.copy_(torch.nn.functional.one_hot(choice, SPEC.action_dim).float())
    learner.launch([UPDATES] * learner.config.num_members)
    params = learner.buffers["state"]["params"]
    sums = [
        {name: float(value[m].double().sum()) for name, value in params.items()} for m in range(len(params["critic"]))
    ]
    return [{**losses, **sums[m]} for m, losses in enumerate(learner.read_metrics())]


@pytest.mark.parametrize("case", CASES)
def test_the_first_updates_are_those_that_are_stored(case):
    stored = json.loads(FIGURES.read_text())[case]
    assert len(stored) == len(figures(case))
    for mine, theirs in zip(figures(case), stored, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-5, nan_ok=True)


if __name__ == "__main__":
    FIGURES.write_text(json.dumps({case: figures(case) for case in CASES}, indent=1) + "\n")
