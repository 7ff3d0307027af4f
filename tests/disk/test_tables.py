"""Tables, settings and summaries that are damaged: one line that says what to do, or the row is left out."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from fastsac import Config, train
from fastsac.checkpoint.reader import load_meta
from fastsac.cli.main import main
from fastsac.disk.tables import read_numbers, read_table
from fastsac.report.csv_sink import CsvSink
from fastsac.run.result import read_summary
from tests.support.runs import complaints

CONFIG = Config(
    env="tests.support.scripted_env:5c", num_envs=2, seeds=2, total_steps=60, learning_starts=16, batch_size=8,
    buffer_size=100, hidden_dims=(8,), eval_every=20, eval_episodes=1, log_every=20, checkpoint_every=40, device="cpu",
    compile="off", tensorboard=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(CONFIG.replace(run_dir=str(folder)))
    return folder


def line(number, change):
    """Change one line of a file."""

    def damage(content):
        lines = content.split(b"\n")
        lines[number] = change(lines[number])
        return b"\n".join(lines)

    return damage


def end(cells):
    return lambda content: content + cells


TABLES = {
    "torn": lambda content: content[:-7],
    "torn in the first line": lambda content: content[:20],
    "empty": lambda _: b"",
    "first line only": lambda content: content.split(b"\n")[0] + b"\n",
    "zeros": lambda content: bytes(len(content)),
    "zeros at the end": lambda content: content[:-30] + bytes(30),
    "zeros in the middle": line(2, lambda row: row[:4] + bytes(8) + row[12:]),
    "noise": lambda _: bytes(range(256)) * 40,
    "not UTF-8": line(2, lambda row: b"\xff" + row[1:]),
    "names not UTF-8": line(0, lambda row: b"\xff" + row[1:]),
    "a name altered": line(0, lambda row: row.replace(b"env_steps", b"env_sdeps")),
    "UTF-16": lambda content: content.decode().encode("utf-16"),
    "a byte order mark": lambda content: b"\xef\xbb\xbf" + content,
    "lines of Windows": lambda content: content.replace(b"\n", b"\r\n"),
    "lines of old": lambda content: content.replace(b"\n", b"\r"),
    "semicolons": lambda content: content.replace(b",", b";"),
    "a huge cell": line(2, lambda row: b"1" * 200_000 + row),
    "a huge number": line(2, lambda row: row.replace(b",2", b",2" + b"0" * 5_000, 1)),
    "numbers too large": line(
        2, lambda row: b",".join([row[:1], *[b"-1e308", b"1e308"] * 9, b"1"][: row.count(b",") + 1])
    ),
    "steps out of order": line(2, lambda row: row.replace(b",20,", b",-7,", 1).replace(b",21,", b",-7,", 1)),
    "an open quote": line(2, lambda row: b'"' + row),
    "text for numbers": line(2, lambda row: b"member" + row[1:]),
    "half a member": line(2, lambda row: b"0.5" + row[1:]),
    "no such member": line(2, lambda row: b"7" + row[1:]),
    "no member": line(2, lambda row: b"nan" + row[1:]),
    "too few cells": line(2, lambda row: row[:9]),
    "too many cells": line(2, lambda row: row + b",1,2"),
    "blank lines": line(2, lambda row: b"\n\n" + row),
    "another program's": lambda _: b"step,loss\n1,2\n",
    "JSON": lambda _: b'{"a": [1, 2]}\n',
}
OTHERS = {
    "config.json": {
        "empty": b"", "null": b"null", "list": b"[]", "not UTF-8": b'{"env": "\xff"}', "deep": b"[" * 99_999,
        "no env": b'{"env": null}', "torn": b'{"env": "tests.scr', "zeros": bytes(300),
    },
    "summary.json": {
        "list": b"[]", "empty": b"", "not UTF-8": b"\xff", "deep": b"[" * 99_999, "other types": b'{"members": 3}',
    },
}  # fmt: skip
READ_ONLY = [["plot"], ["eval", "--member", "best", "--episodes", "1"], ["extract", "--out", "OUT"]]


def call(capsys, folder, command):
    """Status, and lines of stderr and of both, of a command on a run."""
    out = str(folder.with_name("out"))
    shutil.rmtree(out, ignore_errors=True)
    status = main([command[0], str(folder), *(out if arg == "OUT" else arg for arg in command[1:])])
    captured = capsys.readouterr()
    return status, complaints(captured.err).splitlines(), captured.out.splitlines()


def check_reading(capsys, folder, name):
    """Each command that changes nothing succeeds, or names the file in one line."""
    for command in READ_ONLY:
        status, err, _ = call(capsys, folder, command)
        assert (status, len(err)) in ((0, 0), (2, 1)), (command, status, err)
        assert status == 0 or name in err[0] or "has no returns yet" in err[0] or "no evaluation by which" in err[0]


@pytest.mark.parametrize("damage", TABLES)
def test_every_command_on_damaged_tables(finished, tmp_path, capsys, damage):
    folder = shutil.copytree(finished, tmp_path / "run")
    for name in ("metrics.csv", "eval.csv"):
        (folder / name).write_bytes(TABLES[damage]((finished / name).read_bytes()))
        check_reading(capsys, folder, name)
    assert main(["train", "--resume", str(folder), "--total-steps", "80"]) == 0
    assert all(read_table(folder / name).rows for name in ("metrics.csv", "eval.csv"))


@pytest.mark.parametrize(("name", "damage"), [(name, damage) for name in OTHERS for damage in OTHERS[name]])
def test_every_command_on_other_damaged_files(finished, tmp_path, capsys, name, damage):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / name).write_bytes(OTHERS[name][damage])
    check_reading(capsys, folder, name)
    status = main(["train", "--resume", str(folder), "--total-steps", "80"])
    assert status == (2 if name == "config.json" else 0)
    assert len(complaints(capsys.readouterr().err).splitlines()) == status / 2


@pytest.mark.parametrize("damage", OTHERS["summary.json"])
def test_a_damaged_summary_counts_as_none_and_is_made_again(finished, tmp_path, damage):
    folder = shutil.copytree(finished, tmp_path / "run")
    whole = read_summary(folder)
    (folder / "summary.json").write_bytes(OTHERS["summary.json"][damage])
    assert read_summary(folder) == {}
    result = train(CONFIG.replace(run_dir=str(folder), resume="auto"))
    assert read_summary(folder)["eval_return_mean"] == result.eval_return_mean == whole["eval_return_mean"]


@pytest.mark.parametrize("name", ["eval.csv", "metrics.csv", "summary.json", "config.json"])
def test_a_pipe_is_not_waited_for(finished, tmp_path, capsys, name):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    for command in READ_ONLY:
        status, err, _ = call(capsys, folder, command)
        assert (status, len(err)) in ((0, 0), (2, 1)), (command, status, err)
    assert main(["train", "--resume", str(folder), "--total-steps", "80"]) == (2 if name == "config.json" else 0)
    if name.endswith(".csv"):
        assert f"{name} cannot be read (it is not a regular file): it is now {name}.damaged" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "kept"),
    [("not UTF-8", 5), ("torn", 5), ("zeros", 0), ("another program's", 0), ("a name altered", 6), (None, 0)],
)
def test_a_resumed_run_sets_a_damaged_table_aside_and_says_so(finished, tmp_path, capsys, damage, kept):
    folder, content = shutil.copytree(finished, tmp_path / "run"), (finished / "eval.csv").read_bytes()
    path, aside = folder / "eval.csv", folder / "eval.csv.damaged"
    path.unlink()
    if damage:
        path.write_bytes(TABLES[damage](content))
    assert main(["train", "--resume", str(folder), "--total-steps", "80"]) == 0
    out, rows = capsys.readouterr().out, read_table(path).rows
    if damage:
        assert f"eval.csv is damaged: {kept} of the 6 row(s) that the checkpoint counts on" in out
        assert aside.read_bytes() == TABLES[damage](content)
    else:
        assert "eval.csv is gone, and with it 6 row(s)" in out
    assert len(rows) == kept + 2  # and the evaluation at the end
    whole = [row["return_mean"] for row in read_table(finished / "eval.csv").rows]
    lost = {"not UTF-8": [1], "torn": [5], "a name altered": []}.get(damage, range(6))
    assert [row["return_mean"] for row in rows[:kept]] == [value for i, value in enumerate(whole) if i not in lost]
    assert main(["train", "--resume", str(folder), "--total-steps", "100"]) == 0
    assert "damaged" not in capsys.readouterr().out  # told once


def test_what_comes_after_the_checkpoint_is_no_damage(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n1,2\n3,4\n5,\xff\n6")
    sink = CsvSink(path, ("a", "b"), keep=2)
    sink.close()
    assert (sink.note, sink.num_rows, path.read_bytes()) == ("", 2, b"a,b\n1,2\n3,4\n")
    assert os.listdir(tmp_path) == ["a.csv"]


def test_damaged_tables_do_not_replace_each_other(tmp_path):
    for number in range(3):
        (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n%d,\xff\n" % number)
        CsvSink(tmp_path / "a.csv", ("a", "b"), keep=2).close()
    names = ("a.csv.damaged", "a.csv.damaged-2", "a.csv.damaged-3")
    assert [(tmp_path / name).read_bytes()[8:9] for name in names] == [b"0", b"1", b"2"]


def test_a_row_costs_itself_alone(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'a,b,c\n1,2,x\n3,\xff,x\n"4,5,x\n6,high,x\n7,,x\n8,9\n10,11,x\n12,13,1')
    assert np.array_equal(read_numbers(path, ("b", "a")), [[2, 1], [np.nan, 7], [11, 10]], equal_nan=True)
    assert read_numbers(Path(tmp_path / "none.csv"), ("a",)).shape == (0, 1)
    assert [row["a"] for row in read_table(path, 6).rows] == ["1", "6", "7"]


def test_what_cannot_be_read_is_not_taken_for_left_over(finished, tmp_path, capsys):
    """Without checkpoints, a folder is made afresh only where the run surely never got to one."""
    folder = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(folder / "checkpoints")
    (folder / "summary.json").unlink()
    (folder / "metrics.csv").write_bytes(b"\xff\n")
    args = ["train", "--env", CONFIG.env, "--run-dir", str(folder), "--resume", "auto"]
    assert main(args) == 2
    assert "metrics.csv lacks the columns env_steps. Move it away" in capsys.readouterr().err
    assert (folder / "metrics.csv").read_bytes() == b"\xff\n"


def test_a_member_alone_counts_its_own_whole_rows(finished, tmp_path, capsys):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "eval.csv").write_bytes(TABLES["not UTF-8"]((folder / "eval.csv").read_bytes()))
    assert main(["extract", str(folder), "--member", "1", "--out", str(tmp_path / "one")]) == 0
    assert len(read_table(tmp_path / "one" / "eval.csv").rows) == load_meta(tmp_path / "one")["tables"]["eval.csv"] == 2
    assert main(["train", "--resume", str(tmp_path / "one"), "--total-steps", "80"]) == 0
    assert "damaged" not in capsys.readouterr().out
