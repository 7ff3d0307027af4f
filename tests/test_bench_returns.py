"""bench.returns: real training commands, small, and how their rows replace older ones."""

import json

import pytest

from bench import returns

TINY = (
    "--total-steps 60 --learning-starts 20 --batch-size 8 --hidden-dims 8 --compile off --eval-every 30 "
    "--eval-episodes 1 --no-tensorboard --device cpu"
)


def test_rows_are_replaced_by_command(tmp_path, monkeypatch, capsys):
    command = "--env tests.scripted_env:9c --seeds 2"
    monkeypatch.setattr(returns, "FAMILIES", {"tiny": [command], "bad": ["--env tests.scripted_env:9c --num-envs 0"]})
    path = tmp_path / "returns.json"
    full = f"fastsac train {command} {TINY}"
    path.write_text(json.dumps({"rows": [{"command": "another", "commit": "old"}, {"command": full, "commit": "old"}]}))
    returns.main(["--json", str(path), "--families", "tiny", "bad", f"--flags={TINY}"])
    rows = {row["command"]: row for row in json.loads(path.read_text())["rows"]}
    assert rows["another"]["commit"] == "old"
    row = rows[full]
    assert row["commit"] != "old"
    assert [m["seed"] for m in row["members"]] == [1, 2]
    assert row["process_s"] > row["wall_s"] > 0
    assert [point[0] for point in row["curve"]] == [0, 1] * (len(row["curve"]) // 2)
    assert row["curve"][-1][3] == pytest.approx(row["members"][1]["eval_return_mean"], abs=0.1)
    (bad,) = (row for name, row in rows.items() if "--num-envs 0" in name)
    assert "num_envs must be at least 1, got 0" in bad["error"]
    out = capsys.readouterr().out
    assert "num_envs must be at least 1" in out
    assert f"{full}: " in out


def test_an_unknown_family_is_refused():
    with pytest.raises(ValueError, match=r"families must be of pendulum, .*, got walker"):
        returns.Settings(families=("walker",))
