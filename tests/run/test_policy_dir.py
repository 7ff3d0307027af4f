"""A policy alone in a folder acts as in its run, tells how it was made, and is refused where it was damaged."""

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastsac
import tests.support.gym_envs  # noqa: F401  # registers environments
from fastsac import policies
from fastsac.checkpoint import DamagedError, sha256
from fastsac.cli.main import main
from fastsac.config.settings import Config
from fastsac.run.policy_dir import About, read_about
from tests.support.runs import complaints, contents, run

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "normalised": {"obs_norm": True},
    "statistics in the network": {"network": "flash", "hidden_dims": (8, 8), "algo": "sac"},
    "discrete": {"env": "gymnasium:Choices-v0", "obs_norm": True, "max_episode_steps": 9},
    "image": {"env": "gymnasium:Pictures-v0", "conv_channels": (2,), "max_episode_steps": 9, "total_steps": 40},
    "sql": {"env": "Pendulum-v1", "algo": "sql", "max_episode_steps": 9},
}


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """A policy with a normaliser in a folder of its own."""
    result, out = run(tmp_path, obs_norm=True), tmp_path / "alone"
    assert main(["extract", str(result.run_dir), "--policy-only", "--episodes", "2", "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_it_acts_as_in_its_run(tmp_path, kind):
    folder, out = run(tmp_path, eval_every=20, cpu_threads=1, **KINDS[kind]).run_dir, tmp_path / "alone"
    assert main(["extract", str(folder), "--policy-only", "--episodes", "0", "--out", str(out)]) == 0
    before, after = fastsac.load(folder), fastsac.load(out)
    assert after.spec == before.spec
    assert repr(after) == repr(before)
    rows = np.random.default_rng(0).integers(0, 9, (5, before.obs_dim)).astype(np.float32)
    if before.config.obs_norm:
        assert "obs_mean" in np.load(out / "policy.npz", allow_pickle=False)
    for flags in ({}, {"normalized": True}):
        np.testing.assert_array_equal(after.act(rows, **flags), before.act(rows, **flags))


def test_a_member_with_its_setting_and_its_best_policy(tmp_path):
    swept: dict[str, Any] = {"sweep": ("gamma=0.8,0.9",), "obs_norm": True, "eval_every": 20}
    folder, out = run(tmp_path, **swept).run_dir, tmp_path / "best"
    args = ["--member", "1", "--checkpoint", "best", "--episodes", "0", "--out", str(out)]
    assert main(["extract", str(folder), "--policy-only", *args]) == 0
    best = fastsac.load(folder, 1, "best")
    rows = np.random.default_rng(0).standard_normal((5, best.obs_dim)).astype(np.float32)
    np.testing.assert_array_equal(fastsac.load(out).act(rows), best.act(rows))
    config, card = Config.load(out), read_about(out).card
    assert (config.gamma, config.num_members, config.run_dir) == (0.9, 1, None)
    assert (card.checkpoint, card.num_members, card.evaluation) == ("best", 2, None)
    with (out / "eval.csv").open() as f:
        assert {row["member"] for row in csv.DictReader(f)} == {"0"}


def test_the_card_says_how_it_was_made_and_what_it_reaches(alone):
    card, config = read_about(alone).card, Config.load(alone)
    evaluation = fastsac.evaluate(alone, config.env, episodes=2)
    assert card.evaluation is not None
    assert (card.evaluation.episodes, card.evaluation.return_mean) == (2, evaluation.mean)
    assert (card.env_steps, card.num_members, card.device) == (62, 1, "cpu")  # episodes' ends are no steps
    assert card.versions["numpy"] == np.__version__
    assert card.command.startswith(f"fastsac train --env {config.env} --num-envs 4 --algo sac --total-steps 60 ")


def test_it_is_a_run_directory_where_policies_are_read(alone, capsys, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    for command in (["eval"], ["eval", "--member", "best"], ["plot"]):
        assert main([*command, str(alone)]) == 0
    assert main(["extract", str(alone), "--policy-only", "--out", str(alone.with_name("again"))]) == 0
    again = alone.with_name("again")
    assert (again / "policy.npz").read_bytes() == (alone / "policy.npz").read_bytes()
    capsys.readouterr()
    assert main(["train", "--resume", str(alone)]) == 2
    assert "has no checkpoint" in capsys.readouterr().err
    assert main(["train", "--config", str(alone), "--run-dir", str(alone)]) == 2
    assert "alone" in capsys.readouterr().err


def test_a_policy_from_a_policy_keeps_how_it_was_made(tmp_path):
    source = policies.folder_of("hopper")
    assert main(["extract", "demo:hopper", "--policy-only", "--episodes", "0", "--out", str(tmp_path / "mine")]) == 0
    before, after = read_about(source).card, read_about(tmp_path / "mine").card
    assert before.device is not None
    assert after == dataclasses.replace(before, evaluation=None)


def damaged(about: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({**about, **changes}).encode()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda about, data: {"policy.npz": data[:-1]}, "policy.npz is damaged: it is not what was written."),
        (lambda about, data: {"policy.npz": None}, "policy.npz is damaged: it cannot be read"),
        (lambda about, data: {"policy.json": b"{"}, "policy.json is damaged: "),
        (lambda about, data: {"policy.json": b"[]"}, "policy.json is damaged: policy.json must be a JSON object"),
        (lambda about, data: {"policy.json": damaged(about, task={})}, "policy.json is damaged: policy.json must be"),
        (
            lambda about, data: {"policy.json": damaged(about, task={**about["task"], "sizes": {}})},
            "policy.json is damaged: policy.json lacks sizes.",
        ),
        (
            lambda about, data: {
                "policy.npz": b"no arrays",
                "policy.json": damaged(about, sha256=sha256(b"no arrays")),
            },
            "policy.npz is damaged: it holds no plain arrays",
        ),
    ],
)
def test_what_was_not_written_is_refused(alone, capsys, spoil, message):
    about, data = json.loads((alone / "policy.json").read_text()), (alone / "policy.npz").read_bytes()
    for name, content in spoil(about, data).items():
        if content is None:
            (alone / name).unlink()
        else:
            (alone / name).write_bytes(content)
    with pytest.raises(DamagedError):
        fastsac.load(alone)
    capsys.readouterr()
    assert main(["eval", str(alone)]) == 2
    assert message in complaints(capsys.readouterr().err)


def test_pickled_objects_are_refused(alone):
    buffer = io.BytesIO()
    np.savez(buffer, w=np.array([print], object))
    about = json.loads((alone / "policy.json").read_text())
    (alone / "policy.npz").write_bytes(buffer.getvalue())
    (alone / "policy.json").write_bytes(damaged(about, sha256=sha256(buffer.getvalue())))
    with pytest.raises(DamagedError, match=r"it holds no plain arrays \(ValueError\)"):
        fastsac.load(alone)


def test_another_format_and_another_network_are_named(alone):
    config = Config.load(alone)
    (alone / "config.json").write_text(config.replace(hidden_dims=(9,)).to_json())
    with pytest.raises(ValueError, match=r"policy\.npz is not of the network in .*config\.json\. Extract it again\."):
        fastsac.load(alone)
    about = json.loads((alone / "policy.json").read_text())
    (alone / "policy.json").write_bytes(damaged(about, format=2))
    with pytest.raises(ValueError, match=r"has format 2, this version reads 1\. Use the fastsac that wrote it\."):
        fastsac.load(alone)
    assert not isinstance(about, About)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--policy-only", "--out", "alone"], "alone exists and is not empty. Give another folder."),
        (["--policy-only", "--out", "file/x"], "cannot write file/x: Not a directory."),
        (["--policy-only", "--member", "1"], "member must be 0, the only one of this run, got 1."),
        (["--policy-only", "--episodes", "-1"], "episodes must be at least 0, got -1."),
        (["--checkpoint", "best"], "--checkpoint has no effect without --policy-only."),
        (["--episodes", "3"], "--episodes has no effect without --policy-only."),
    ],
)
def test_a_wrong_call_gets_one_line_and_writes_nothing(alone, capsys, monkeypatch, args, message):
    monkeypatch.chdir(alone.parent)
    Path("file").touch()
    capsys.readouterr()
    before = contents(Path())
    assert main(["extract", "run", *args]) == 2
    error = complaints(capsys.readouterr().err)
    assert message in error
    assert error.count("\n") == 1
    assert contents(Path()) == before


def test_a_policy_of_the_package_is_copied_into_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["extract", "demo:pendulum", "--policy-only", "--episodes", "0"]) == 0
    assert read_about(Path("pendulum-policy0")).task == read_about(policies.folder_of("pendulum")).task
    assert not policies.HOME.joinpath("pendulum-policy0").exists()


def test_only_one_policy_is_there(alone):
    with pytest.raises(ValueError, match=r"alone holds one policy alone, .* Leave checkpoint out\."):
        fastsac.load(alone, checkpoint="best")
    with pytest.raises(ValueError, match=r"member must be 0, the only one of this run, got 1\."):
        fastsac.load(alone, 1)
