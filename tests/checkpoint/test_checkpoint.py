"""Checkpoints: whole or not at all, the newest whole one wins, damaged and hostile files change nothing."""

import dataclasses
import io
import json
import os
import pickle
import random
import re
import shutil

import pytest
import torch

import fastsac
from fastsac import checkpoint
from fastsac.checkpoint import writer as checkpoint_writer
from fastsac.checkpoint.writer import Rows, Writer
from fastsac.cli.main import main
from fastsac.config.settings import Config
from fastsac.nn.vectors import flatten
from fastsac.run.run_state import RunState
from fastsac.run.run_state import find as find_run
from fastsac.run.trainer import train
from tests.support.checkpoints import META, STATE, rows_of
from tests.support.runs import BASE, complaints, parameters, rows


def vector(policy):
    """The vector [P] of the network that acts."""
    algorithm = policy.algorithm
    return flatten({name: policy.numbers[name] for name in algorithm.networks[algorithm.acts_by].shapes})


def save(writer, env_steps, first=0, last=1):
    return writer.write(env_steps, {**STATE, "replay": {"added": torch.tensor(last - 1)}}, META, rows_of(first, last))


# Writing ----------------------------------------------------------------------------------------------------------


def test_the_newest_is_loaded_and_as_many_are_kept_as_asked_for(tmp_path):
    writer = Writer(tmp_path, keep=3)
    for steps in (5, 999, 1_000_000, 20):  # the last is the newest, whatever its steps
        save(writer, steps)
    names = [d.name for d in checkpoint.checkpoint_dirs(tmp_path)]
    assert names == ["000002_step_000000000999", "000003_step_000001000000", "000004_step_000000000020"]
    found = checkpoint.find(tmp_path)
    assert found.folder.name == names[-1]
    assert found.note == ""
    assert torch.equal(checkpoint.read(found)["state"]["a"], STATE["state"]["a"])


def test_rows_are_written_once_and_files_go_when_no_checkpoint_needs_them(tmp_path):
    writer, written, most = Writer(tmp_path), 0, 0
    for last in range(3, 1000, 7):  # a ring of 100 rows
        first = max(0, last - 100)
        written += sum(b - a for a, b in writer.divide(rows_of(first, last)).ranges)
        save(writer, last, first, last)
        state, meta = checkpoint.load(tmp_path)
        assert state["replay"]["rows.reward"].flatten().tolist() == list(range(first, last))
        files = list(checkpoint.replay_dir(tmp_path).iterdir())
        most = max(most, len(files))
        assert {s["file"] for s in meta["replay"]["segments"]} <= {f.name for f in files}
    assert written < 1.3 * 1000
    assert most < 20


def test_large_states_go_into_several_files_and_later_rows_win(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_writer, "PIECE", 4 * 10)
    writer = Writer(tmp_path)
    save(writer, 1, 5, 38)
    assert len(checkpoint.load_meta(tmp_path)["replay"]["segments"]) == 4
    negative = Rows((5, 60), 4, lambda a, b: {"rows.reward": -torch.arange(float(a), b).view(1, -1, 1)})
    writer.write(2, {**STATE, "replay": {}}, META, negative)
    expected = [*range(5, 36), *range(-36, -60, -1)]  # row 36 was the last one before the head
    assert checkpoint.load(tmp_path)[0]["replay"]["rows.reward"].flatten().tolist() == expected


def test_rows_are_read_a_file_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_writer, "PIECE", 4 * 10)
    writer = Writer(tmp_path)
    save(writer, 1, 0, 38)
    save(writer, 2, 5, 40)
    found = checkpoint.find(tmp_path)
    files = [(begin, piece["rows.reward"].flatten().tolist()) for begin, piece in checkpoint.read_rows(found)]
    spans = [(5, 10), (10, 20), (20, 30), (30, 38), (36, 40)]  # those of the first checkpoint serve on
    assert files == [(begin, list(range(begin, end))) for begin, end in spans]
    assert checkpoint.read_state(found)["replay"].keys() == {"added"}
    assert not [*checkpoint.read_rows(dataclasses.replace(found, with_replay=False))]


def test_rows_are_checked_when_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_writer, "PIECE", 4 * 10)
    save(Writer(tmp_path), 1, 0, 20)
    found = checkpoint.find(tmp_path)
    last = max(checkpoint.replay_dir(tmp_path).iterdir())
    last.write_bytes(last.read_bytes()[:-1] + b"?")
    rows = checkpoint.read_rows(found)
    assert next(rows)[0] == 0
    with pytest.raises(checkpoint.DamagedError, match="is not what was written"):
        next(rows)


@pytest.mark.parametrize("piece", [1, 12, 40])
def test_rows_larger_than_a_file_should_be_are_read_again(tmp_path, monkeypatch, piece):
    monkeypatch.setattr(checkpoint_writer, "PIECE", piece)
    writer = Writer(tmp_path)
    for last in (5, 9, 10, 10, 23):  # once without a new row
        save(writer, last, 0, last)
        assert checkpoint.load(tmp_path)[0]["replay"]["rows.reward"].flatten().tolist() == list(range(last))


def test_a_writer_goes_on_where_another_stopped(tmp_path):
    save(Writer(tmp_path), 1, 0, 50)
    found = checkpoint.find(tmp_path)
    writer = Writer(tmp_path, found=found)
    assert writer.divide(rows_of(0, 60)).ranges == [(48, 60)]
    save(writer, 2, 0, 60)
    assert checkpoint.load(tmp_path)[0]["replay"]["rows.reward"].flatten().tolist() == list(range(60))
    assert Writer(tmp_path, found=dataclasses.replace(found, with_replay=False)).divide(rows_of(0, 60)).ranges == [
        (0, 60)
    ]


def test_what_a_crash_left_is_not_seen_and_goes_with_the_next(tmp_path):
    writer = Writer(tmp_path)
    save(writer, 7)
    torn = tmp_path / "checkpoints" / "000002_step_000000000008.tmp"
    torn.mkdir()
    (torn / "learner.pt").write_bytes(b"half")
    (checkpoint.replay_dir(tmp_path) / f"rows_{0:012d}_{9:012d}_{7:016x}.pt.tmp").write_bytes(b"half")
    assert checkpoint.find(tmp_path).folder.name == "000001_step_000000000007"
    save(writer, 9)
    assert not torn.exists()
    assert not list(checkpoint.replay_dir(tmp_path).glob("*.tmp"))


def test_views_do_not_drag_their_storage_along(tmp_path):
    path = Writer(tmp_path).write(1, {"state": {"a": torch.zeros(1_000_000)[:3]}}, META, None)
    assert (path / "learner.pt").stat().st_size < 10_000


# Reading ----------------------------------------------------------------------------------------------------------


def test_a_damaged_one_is_passed_over_and_replaced(tmp_path):
    writer = Writer(tmp_path)
    for steps in (7, 9, 11):
        path = save(writer, steps)
    (path / "learner.pt").write_bytes(b"")
    found = checkpoint.find(tmp_path)
    assert found.folder.name == "000002_step_000000000009"
    assert re.search(r"learner.pt has 0 bytes instead of \d+\. Taking 000002_step_000000000009, ", found.note)
    assert "\n" not in found.note
    save(Writer(tmp_path, found=found), 10)
    names = [d.name for d in checkpoint.checkpoint_dirs(tmp_path)]
    assert names == ["000002_step_000000000009", "000004_step_000000000010"]


@pytest.mark.parametrize("version", [2, checkpoint.FORMAT + 1, 999])
def test_another_version_s_checkpoint_is_refused_and_none_before_it_taken(tmp_path, version):
    writer = Writer(tmp_path)
    save(writer, 5)
    meta = save(writer, 7) / "meta.json"
    meta.write_text(meta.read_text().replace(f'"format": {checkpoint.FORMAT}', f'"format": {version}'))
    with pytest.raises(ValueError, match=f"has checkpoint format {version}, this version reads {checkpoint.FORMAT}"):
        checkpoint.find(tmp_path)


def test_a_checkpoint_of_an_older_version_is_refused(tmp_path):
    old = tmp_path / "checkpoints" / "step_000000000008"
    old.mkdir(parents=True)
    (old / "meta.json").write_text('{"format": 2}')
    with pytest.raises(ValueError, match="has checkpoint format 2, this version reads 5"):
        checkpoint.find(tmp_path)


# Hostile files ----------------------------------------------------------------------------------------------------

NUM_DAMAGES = 300


class Bomb:
    def __reduce__(self):
        return (os.system, ("touch /tmp/fastsac-bomb",))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with two checkpoints, rows of the replay in several files, and evaluations."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(BASE.replace(run_dir=str(folder), checkpoint_every=25, eval_every=30))
    return folder


def files_of(folder):
    return sorted(p for p in (folder / "checkpoints").rglob("*") if p.is_file())


def sign(path, change):
    """Edit a meta.json and make its checksum right again."""
    meta = json.loads(path.read_text())
    del meta["sha256"]
    change(meta)
    path.write_text(json.dumps({**meta, "sha256": checkpoint.meta_sha256(meta)}))


def replace_learner(path, content):
    """Put other content into the newest learner.pt and make all checksums right."""
    (path / "learner.pt").write_bytes(content)
    entry = {"bytes": len(content), "sha256": checkpoint.sha256(content)}
    sign(path / "meta.json", lambda meta: meta.update(learner=entry))


def damage(folder, number):
    """Damage a copy of a run in the way of this number."""
    rng = random.Random(number)
    files, newest = files_of(folder), checkpoint.checkpoint_dirs(folder)[-1]
    kind = number % 8
    path = rng.choice(files)
    data = path.read_bytes()
    if kind in (0, 1):
        path.write_bytes(data[: rng.randrange(len(data))])
    elif kind in (2, 3):
        bit = rng.randrange(8 * len(data))
        path.write_bytes(data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :])
    elif kind == 4:
        first, second = rng.sample(files, 2)
        content = first.read_bytes(), second.read_bytes()
        first.write_bytes(content[1])
        second.write_bytes(content[0])
    elif kind == 5:
        path.unlink()
    elif kind == 6:
        buffer = io.BytesIO()
        torch.save({"state": Bomb()}, buffer)
        hostile = rng.choice([buffer.getvalue(), pickle.dumps(Bomb()), b"", torch_bytes({"state": {}})])
        replace_learner(newest, hostile) if rng.random() < 0.7 else path.write_bytes(hostile)
    else:
        meta = json.loads((newest / "meta.json").read_text())
        key = rng.choice([key for key in meta if key not in ("sha256", "format")])
        alike: dict[type, list[object]] = {
            int: [-1, 2**40], float: [-1.0, 1e400], str: ["x"], bool: [True], list: [[], [-1]],
        }  # fmt: skip
        other: list[object] = [None, "x", -1, [], {}, ["x"], {"x": 1}, 1e400, True, [[[]]], "../../../etc/passwd"]
        value = rng.choice(alike.get(type(meta[key]), other) if rng.random() < 0.5 else other)

        def change(meta):
            if rng.random() < 0.3:
                del meta[key]
            else:
                meta[key] = value

        sign(newest / "meta.json", change)


def torch_bytes(tree):
    buffer = io.BytesIO()
    torch.save(tree, buffer)
    return buffer.getvalue()


def same(mine, other):
    if isinstance(mine, dict):
        return isinstance(other, dict) and mine.keys() == other.keys() and all(same(mine[k], other[k]) for k in mine)
    return torch.equal(mine, other)


def test_no_damage_is_taken_for_a_checkpoint(tmp_path, trained):
    """Each of many damages ends in one line and the checkpoint before, in one line and none, or changes nothing."""
    found = [checkpoint.Found(d, checkpoint.read_meta(d), "") for d in checkpoint.checkpoint_dirs(trained)]
    assert len(found) == 2
    whole = {f.folder.name: (f.meta, checkpoint.read(f)) for f in found}
    lines = []
    counts = dict.fromkeys(("refused", "the one before", "unharmed", "signed otherwise"), 0)
    for number in range(NUM_DAMAGES):
        folder = tmp_path / f"{number}"
        shutil.copytree(trained, folder)
        damage(folder, number)
        before = {p: p.read_bytes() for p in files_of(folder)}
        try:
            taken = find_run(folder)
            state = checkpoint.read(taken)
        except ValueError as error:
            lines.append(str(error))
            counts["refused"] += 1
        else:
            meta, expected = whole[taken.folder.name]
            if number % 8 < 6:
                assert taken.meta == meta, number
            elif number % 8 == 7 and taken.meta != meta:  # who can sign can write any number, and that is all
                counts["signed otherwise"] += 1
                try:
                    reached = max(1, *RunState.from_json(taken.meta).env_steps)
                    resume = Config.load(folder).replace(resume=str(folder), run_dir=None)
                    result = train(resume.replace(total_steps=reached + 20))
                except ValueError as error:
                    lines.append(str(error))
                    assert before == {p: p.read_bytes() for p in files_of(folder)}, number
                else:
                    assert result.env_steps >= reached + 20 or result.stopped_by == "goal", number
                shutil.rmtree(folder)
                continue
            if not same(state, expected):  # signed, and of tensors alone, but not of this algorithm
                assert number % 8 == 6, number
                with pytest.raises(ValueError, match="must"):
                    train(Config.load(folder).replace(resume=str(folder), run_dir=None, total_steps=100))
            is_newest = taken.folder.name == found[-1].folder.name
            assert bool(taken.note) != is_newest
            lines.append(taken.note)
            counts["unharmed" if is_newest else "the one before"] += 1
        assert before == {p: p.read_bytes() for p in files_of(folder)}
        shutil.rmtree(folder)
    assert not any("\n" in line for line in lines)
    assert counts["refused"] + counts["the one before"] > NUM_DAMAGES // 2
    assert min(counts.values()) > 0
    assert not os.path.exists("/tmp/fastsac-bomb")
    print(counts)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("episodes", {"returns": [[1.0]], "lengths": [["a"]], "last_returns": [[]]}),
        ("evaluation_due", None),
        ("rollbacks", [1.5]),
        ("sizes", {"obs_dim": 1, "action_dim": 1, "algo": "none"}),
        ("sizes", {"x": 1}),
        ("replay", {"span": [0, 4], "segments": []}),
        ("replay", {"span": [4, 0], "segments": []}),
        ("replay", {"span": [], "segments": []}),
        ("replay", {"span": [0, 9], "segments": [{"file": "../x", "first": 0, "last": 9, "bytes": 1, "sha256": ""}]}),
        ("replay", {"span": [0, 9]}),
        ("learner", {}),
        ("learner", {"bytes": 1.5, "sha256": ""}),
    ],
)
def test_meta_of_a_wrong_kind_is_refused(tmp_path, name, change):
    writer = Writer(tmp_path)
    sign(save(writer, 7) / "meta.json", lambda meta: meta.update({name: change}))
    with pytest.raises(ValueError, match=r"is damaged: meta\.json (names (no files|rows)|lacks rows|is not that of)"):
        find_run(tmp_path)
    whole, newest = save(writer, 8), save(writer, 9)
    sign(newest / "meta.json", lambda meta: meta.update({name: change}))
    assert f"Taking {whole.name}, " in find_run(tmp_path).note


def test_a_damaged_newest_checkpoint_is_told_by_every_command(tmp_path, trained, capsys, caplog):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    dirs = checkpoint.checkpoint_dirs(folder)
    (dirs[-1] / "learner.pt").write_bytes(b"x")
    policy = fastsac.load(folder)
    assert [f"Taking {dirs[0].name}" in r.message for r in caplog.records] == [True]
    assert torch.equal(vector(policy), checkpoint.load(folder)[0]["state"]["params"]["actor"][0])
    assert main(["train", "--resume", str(folder), "--total-steps", "70"]) == 0
    assert f"Taking {dirs[0].name}" in " ".join(capsys.readouterr().out.split())
    assert checkpoint.find(folder).note == ""
    shutil.rmtree(checkpoint.replay_dir(folder))
    assert main(["train", "--resume", str(folder), "--total-steps", "80"]) == 2
    error = complaints(capsys.readouterr().err)
    assert "is damaged: rows_" in error
    assert "--checkpoint-replay none goes on from it" in error
    assert len(error.splitlines()) == 1


# Best, and without replay -----------------------------------------------------------------------------------------


def test_the_best_policy_is_the_one_with_the_highest_evaluation(tmp_path, capsys):
    folder = tmp_path / "run"
    settings = BASE.replace(seeds=2, eval_every=20, total_steps=120, obs_norm=True, eval_episodes=1)
    result = train(settings.replace(run_dir=str(folder)))
    table = rows(folder / "eval.csv")
    state = checkpoint.load(folder, with_replay=False)[0]
    for member in range(2):
        mine = [r for r in table if r["member"] == str(member)]
        top = max(mine, key=lambda r: float(r["return_mean"]))
        assert state["best"]["return"][member] == float(top["return_mean"])
        assert state["best"]["env_steps"][member] == int(top["env_steps"])
        best, last = (fastsac.load(folder, member, checkpoint=name) for name in ("best", "last"))
        assert torch.equal(vector(best), vector(last)) == (top is mine[-1])
    assert torch.equal(vector(fastsac.load(folder)), parameters(result)["actor"][0])
    capsys.readouterr()
    assert main(["eval", str(folder), "--checkpoint", "best", "--json", "--episodes", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["checkpoint"] == "best"
    with pytest.raises(ValueError, match="checkpoint must be last or best"):
        fastsac.load(folder, checkpoint="first")  # type: ignore[arg-type]  # which is what is refused


def test_without_an_evaluation_there_is_no_best(tmp_path):
    Writer(tmp_path).write(1, {"best": {"return": torch.tensor([-torch.inf])}}, META, None)
    (tmp_path / "config.json").write_text(BASE.to_json())
    with pytest.raises(ValueError, match="has no evaluation by which a policy could be the best"):
        fastsac.load(tmp_path, checkpoint="best")


def test_without_its_replay_a_run_learns_again_from_the_first_new_batch_on(tmp_path):
    folder = tmp_path / "run"
    train(BASE.replace(run_dir=str(folder), checkpoint_replay="none"))
    assert not checkpoint.replay_dir(folder).exists()
    assert "replay" not in checkpoint.load(folder)[0]
    config = Config.load(folder).replace(resume=str(folder), run_dir=None, total_steps=120, checkpoint_replay="full")
    first = checkpoint.load_meta(folder)["env_steps"][0]
    second = train(config)
    assert second.grad_steps == 120 - BASE.learning_starts  # made up for
    state, meta = checkpoint.load(folder)
    assert meta["learn_from"] == [first + BASE.batch_size]
    assert state["replay"]["count"].tolist() == [second.env_steps - first]
