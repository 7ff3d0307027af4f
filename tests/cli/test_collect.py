"""`fastsac collect`: transitions of a policy in a file, exactly as they came, which a run can begin with."""

import re

import numpy as np
import pytest

import fastsac
from fastsac.cli.main import main
from fastsac.run.trainer import train
from tests.support.demonstrations import arrays, transitions
from tests.support.runs import BASE, file_size_limit, run


def test_what_collect_writes_is_what_happened(tmp_path, capsys):
    result = run(tmp_path, "teacher")
    file = tmp_path / "shown.npz"
    assert main(["collect", str(result.run_dir), str(file), "--steps", "50"]) == 0
    out = capsys.readouterr().out
    assert re.search(rf"{file}: 50 transitions, \d+ whole episodes, mean return \d+\.\d\n$", out)
    found = np.load(file)
    assert {*found} == {*arrays(transitions("."))}
    ends = found["terminations"] | found["truncations"]
    assert np.diff(np.flatnonzero(ends)).tolist()[:5] == [3, 5, 2, 9, 3], "the lengths of the episodes"
    follows = (found["next_observations"][:-1] == found["observations"][1:]).all(-1)
    assert (follows == ~ends[:-1]).all()
    policy = fastsac.load(result.run_dir)
    np.testing.assert_allclose(policy.act(found["observations"]), found["actions"], atol=1e-6)
    assert train(BASE.replace(run_dir=str(tmp_path / "pupil"), prefill=str(file), prefill_share=0.5)).env_steps >= 60


def test_sampled_and_many_transitions_come_from_several_environments(tmp_path, monkeypatch):
    monkeypatch.setattr("fastsac.api.STEPS_OF_ONE", 20)
    result = run(tmp_path, "teacher")
    for name in ("a.npz", "b.npz"):
        fastsac.collect(result.run_dir, tmp_path / name, 45, deterministic=False)
    first, second = (np.load(tmp_path / name) for name in ("a.npz", "b.npz"))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert len({*first["observations"][:, 0].tolist()}) == 2, "the seeds of two environments"
    assert len(first["rewards"]) == 45
    pupil = train(BASE.replace(run_dir=str(tmp_path / "pupil"), prefill=str(tmp_path / "a.npz")), quiet=True)
    assert pupil.env_steps >= 60


def test_a_disk_that_fills_costs_one_line_and_leaves_no_file(tmp_path, capsys):
    result = run(tmp_path, "teacher")
    capsys.readouterr()
    with file_size_limit(2_000):
        assert main(["collect", str(result.run_dir), str(tmp_path / "shown.npz"), "--steps", "200"]) == 2
    assert capsys.readouterr().err.endswith(f"fastsac collect: cannot write {tmp_path}/shown.npz: File too large.\n")
    assert [*tmp_path.iterdir()] == [result.run_dir]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shown.txt"], "file must end in .npz, got shown.txt."),
        (["here.npz"], "here.npz exists. Give another path."),
        (["nowhere/shown.npz"], "nowhere is not a folder. Make it, or give another path."),
        (["/proc/shown.npz"], "/proc/shown.npz cannot be written (No such file or directory). Give another path."),
        ([f"{'x' * 300}.npz"], "x.npz cannot be written (File name too long). Give another path."),
        (["shown.npz", "--steps", "0"], "steps must be at least 1, got 0."),
        (["shown.npz", "--seed", "-1"], "seed must be in [0, 2^31), got -1."),
        ([], "RUN_DIR and FILE must be given."),
    ],
)
def test_wrong_calls_of_collect_are_refused_in_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    run(tmp_path, "teacher")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.npz").touch()
    capsys.readouterr()
    assert main(["collect", "teacher", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.splitlines()[-1].startswith("fastsac collect: ")
