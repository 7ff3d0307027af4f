"""Checkpoints: whole or not at all, the newest wins, damaged ones are refused."""

import pytest
import torch

from fastsac import checkpoint

STATE = {"state": {"a": torch.arange(3.0)}, "replay": {"rows": torch.ones(2)}}


def save(run_dir, env_steps):
    return checkpoint.save(run_dir, env_steps, STATE, {"env_steps": [env_steps]})


def test_the_newest_is_loaded_and_two_are_kept(tmp_path):
    for steps in (5, 999, 1_000_000, 20):
        save(tmp_path, steps)
    dirs = checkpoint.checkpoint_dirs(tmp_path)
    assert [d.name for d in dirs] == ["step_000000000999", "step_000001000000"]
    state, meta = checkpoint.load(tmp_path)
    assert meta["env_steps"] == [1_000_000]
    assert torch.equal(state["state"]["a"], STATE["state"]["a"])
    assert torch.equal(state["replay"]["rows"], torch.ones(2))
    assert not (dirs[0] / "replay.pt").exists()  # only the newest needs the replay
    assert (dirs[0] / "learner.pt").exists()


def test_a_half_written_one_is_not_seen(tmp_path):
    save(tmp_path, 7)
    torn = tmp_path / "checkpoints" / "step_000000000008.tmp"
    torn.mkdir()
    (torn / "learner.pt").write_bytes(b"half")
    assert checkpoint.load(tmp_path)[1]["env_steps"] == [7]


def test_another_version_s_checkpoint_is_refused_before_its_tensors_are_read(tmp_path):
    path = save(tmp_path, 7)
    meta = path / "meta.json"
    meta.write_text(meta.read_text().replace(f'"format": {checkpoint.FORMAT}', '"format": 999'))
    (path / "learner.pt").unlink()
    with pytest.raises(ValueError, match=f"has checkpoint format 999, this version reads {checkpoint.FORMAT}"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("damage", ["truncate", "pickle"])
def test_damaged_or_hostile_files_are_refused(tmp_path, damage):
    path = save(tmp_path, 7) / "learner.pt"
    if damage == "truncate":
        path.write_bytes(path.read_bytes()[:100])
    else:
        torch.save({"state": Bomb()}, path)
    with pytest.raises(ValueError, match="cannot be read"):
        checkpoint.load(tmp_path)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a checkpoint ran code",))


def test_views_do_not_drag_their_storage_along(tmp_path):
    big = torch.zeros(1_000_000)
    path = checkpoint.save(tmp_path, 1, {"state": {"a": big[:3]}}, {})
    assert (path / "learner.pt").stat().st_size < 10_000
