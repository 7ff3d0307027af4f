"""docs/metrics.md: every column and tag is on it, and its example acts as the policy that `fastsac.load` gives."""

import re
from pathlib import Path
from typing import Any

import torch

import fastsac
from fastsac import checkpoint
from fastsac.report import loggers, scalars
from fastsac.report.sinks import EVAL_COLUMNS, MEMBER_COLUMNS, METRIC_COLUMNS
from tests.support.runs import run

TEXT = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text()
EXAMPLE: dict[str, Any] = {}
exec(re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)[0], EXAMPLE)


def section(heading: str) -> set[str]:
    """What stands in code type in a section."""
    text = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"`([^`]+)`", text))


def test_every_column_is_explained() -> None:
    assert set(METRIC_COLUMNS) | set(MEMBER_COLUMNS) <= section("metrics.csv")
    assert set(EVAL_COLUMNS) | set(MEMBER_COLUMNS) <= section("eval.csv")


def test_every_tag_is_explained() -> None:
    row = {"return_mean": 1.0, "return_std": 1.0, "success_rate": 1.0}
    tags = {*scalars.of_evaluation([row]), *scalars.of_evaluation([row, row])}
    tags |= scalars.of_metrics([dict.fromkeys((*scalars.LEARNING, scalars.SPEED), 1.0)]).keys()
    tags.add(loggers.FILM)
    explained = section("TensorBoard and Weights & Biases")
    assert tags == {name for name in explained if re.fullmatch(r"(train|time|eval)/\w+", name)}


def test_every_part_of_a_checkpoint_is_explained(tmp_path: Path) -> None:
    state = checkpoint.load(run(tmp_path).run_dir)[0]
    text = TEXT.split("## The checkpoint\n")[1]
    for key, value in state.items():
        assert f"`{key}" in text, key
        for part in value if key in ("state", "normalizer", "best") else ():
            assert re.search(rf"`({key})?\.{part}\b", text), f"{key}.{part}"


def test_the_example_acts_as_the_policy(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"env_kwargs": {"bound": 3.0}, "hidden_dims": (12, 8), "seeds": 2}
    run_dir = run(tmp_path, **settings).run_dir
    (file,) = run_dir.glob("checkpoints/*/learner.pt")
    obs = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    for member in range(2):
        actor = EXAMPLE["load_actor"](file, (5, 12, 8, 4), member)
        with torch.no_grad():
            actions = EXAMPLE["act"](actor, obs, -3.0, 3.0)
        torch.testing.assert_close(actions, fastsac.load(run_dir, member).act(obs))
