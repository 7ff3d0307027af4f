"""bench.replay: both replays hold the same, and what they cost is counted right."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import replay

BRIEF = ["--repeats", "2", "--seconds", "0.02", "--device", "cpu", "--threads", str(torch.get_num_threads())]

CPU = torch.device("cpu")


def test_both_replays_give_the_transitions_that_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[list[torch.Tensor]] = []
    vec_step = replay.vec_step

    def noted(device: torch.device) -> list[torch.Tensor]:
        steps.append(vec_step(device))
        return steps[-1]

    monkeypatch.setattr(replay, "vec_step", noted)
    a = replay.Ours(16, 128, CPU).draw()
    rows = [torch.cat([u, r.unsqueeze(1), n], dim=1) for _, u, r, n, _ in steps[1:]]
    drawn = torch.cat([a.action, a.reward.unsqueeze(1), a.next_obs], dim=1)  # [B, A + 1 + O]
    check(drawn, torch.cat(rows))
    steps.clear()
    b = replay.Torchrl(16, 128, CPU).draw()
    rows = [torch.cat([o, u, r.unsqueeze(1), n], dim=1) for o, u, r, n, _ in steps]
    drawn = torch.cat([b["observation"], b["action"], b["next", "reward"], b["next", "observation"]], dim=1)
    check(drawn, torch.cat(rows))


def check(drawn: torch.Tensor, held: torch.Tensor) -> None:
    assert drawn.shape == (16, held.shape[1])
    assert (drawn.unsqueeze(1) == held).all(-1).any(-1).all()
    assert len(drawn.unique(dim=0)) > 5  # of 128, by 16 draws


def test_bytes_per_transition_by_hand() -> None:
    # 3 rows of 64: obs 68, action 24, reward 4, two flags, one entry of the table; one more of those, 3 counts of 8.
    assert replay.Ours(16, 128, CPU).bytes_per_transition == (192 * (68 + 24 + 4 + 2 + 4) + 4 + 3 * 8) / 128
    # Both observations, action, reward, two flags, and an index of its own.
    assert replay.Torchrl(16, 128, CPU).bytes_per_transition == 2 * 68 + 24 + 4 + 2 + 8


@pytest.mark.slow
def test_replay_writes_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "replay.json"
    report = replay.main([*BRIEF, "--transitions", "128", "--batch-size", "8", "--json", str(path)])
    assert json.loads(path.read_text()) == json.loads(json.dumps(report))
    for part in ("draws", "writes"):
        assert all(row["min"] > 0 for row in report[part]["rows"])
    names = [row["name"] for row in report["draws"]["rows"]]
    assert names == ["fastsac eager, 128", "fastsac compiled, 128", "torchrl, 128"]
    assert "bytes per transition" in capsys.readouterr().out


def test_draws_recorded_as_a_graph_are_those_of_eager(recorder: Any) -> None:
    ours = [replay.Ours(16, 128, CPU) for _ in range(2)]
    draw = ours[0].drawing("captured")
    draw(3)
    for _ in range(3):
        ours[1].draw()
    # The buffers were made from draw 0 by both; warming up does not count, so three launched draws end at counter 4.
    assert (int(ours[0].counter), int(ours[1].counter)) == (4, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"transitions": (8,)}, r"transitions must be at least 256, got \(8,\)\."),
        ({"batch_size": 0}, r"batch_size must be at least 1, got 0\."),
    ],
)
def test_settings_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replay.Settings(**values)
