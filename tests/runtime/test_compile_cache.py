"""What is compiled is kept, and loaded from, a folder that is this user's alone."""

import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fastsac.cli import doctor
from fastsac.cli.main import main
from fastsac.runtime import compile_cache

TRAIN = """
import fastsac, json, sys
settings = dict(
    env="tests.support.scripted_env:5c", num_envs=1, total_steps=20, learning_starts=8, batch_size=4, buffer_size=64,
    hidden_dims=(8,), compile="on", device="cpu", eval_every=0, eval_episodes=1, tensorboard=False,
)
result = fastsac.train(fastsac.Config(**settings, run_dir=sys.argv[1]))
with open("/proc/self/maps") as maps:
    files = {line.split(maxsplit=5)[5].strip() for line in maps if line.count(" ") > 5}
print(json.dumps([result.grad_steps, sorted(name for name in files if name.endswith(".main.so"))]))
"""

# As in a notebook: torch's compiler is imported, and has named its own folder, before fastsac comes.
TORCH_FIRST = """
import os, torch._dynamo
from torch._inductor import codecache
from torch._inductor.runtime.cache_dir_utils import cache_dir, default_cache_dir
assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == default_cache_dir() == os.path.dirname(codecache._HEADER_DIR)
os.environ["TRITON_CACHE_DIR"] = os.path.join(default_cache_dir(), "triton", "0")  # as a compilation for a GPU does
from fastsac import compile_cache
from fastsac.runtime.launch import Inductor
compile_cache.check()
compile_cache.move_headers()
assert cache_dir() == compile_cache.folder()
assert "TRITON_CACHE_DIR" not in os.environ
print(cache_dir(), codecache._HEADER_DIR, codecache._HEADER_LOCK_DIR)
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    monkeypatch.setattr(compile_cache, "_unusable", None)
    monkeypatch.setenv(compile_cache.CACHE_DIR, str(tmp_path / "named"))
    monkeypatch.setenv(compile_cache.TRITON_DIR, str(tmp_path / "triton"))


def run(code, tmp_path, *args):
    """Standard output of a fresh process, for which nothing is set but its user's cache and the temporary folder."""
    (tmp_path / "tmp").mkdir()
    unset = (compile_cache.CACHE_DIR, compile_cache.TRITON_DIR)
    variables = {name: value for name, value in os.environ.items() if name not in unset}
    variables |= {"TMPDIR": str(tmp_path / "tmp"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", code, *args]
    return subprocess.run(command, env=variables, check=True, capture_output=True, text=True, timeout=300).stdout


def mode(path):
    return stat.S_IMODE(Path(path).stat().st_mode)


@pytest.mark.slow
def test_nothing_compiled_is_kept_in_or_loaded_from_the_temporary_folder(tmp_path):
    grad_steps, libraries = json.loads(run(TRAIN, tmp_path, str(tmp_path / "run")).splitlines()[-1])
    ours = tmp_path / "cache" / "fastsac" / "inductor"
    assert grad_steps == 12
    assert libraries
    assert all(Path(library).is_relative_to(ours) for library in libraries)
    assert any((ours / "precompiled_headers").rglob("*.gch"))
    assert list((tmp_path / "tmp").iterdir()) == []
    assert mode(ours) == mode(tmp_path / "cache") == 0o700


def test_what_torch_has_put_into_the_environment_is_nobodys_wish(tmp_path):
    ours = tmp_path / "cache" / "fastsac" / "inductor"
    headers = ours / "precompiled_headers"
    assert run(TORCH_FIRST, tmp_path).split() == [str(ours), str(headers), str(headers / "locks")]


def test_importing_fastsac_is_quick(tmp_path):
    loaded = run("import sys; before = {*sys.modules}; import fastsac; print(*{*sys.modules} - before)", tmp_path)
    assert {*loaded.split()} - {*sys.builtin_module_names} == {
        "fastsac",
        "fastsac.runtime",
        "fastsac.runtime.compile_cache",
    }


def test_the_users_own_choice_is_taken(tmp_path, monkeypatch):
    compile_cache.check()
    assert os.environ[compile_cache.CACHE_DIR] == compile_cache.folder() == str(tmp_path / "named")
    assert mode(tmp_path / "named") == 0o700
    assert os.environ[compile_cache.TRITON_DIR] == str(tmp_path / "triton")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(compile_cache.CACHE_DIR, "relative")
    compile_cache.claim()
    assert os.environ[compile_cache.CACHE_DIR] == str(tmp_path / "relative")


@pytest.mark.parametrize("cache", ["", "not/absolute"])
def test_without_a_choice_it_is_in_the_users_cache(tmp_path, monkeypatch, cache):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    monkeypatch.setenv(compile_cache.CACHE_DIR, "")
    assert compile_cache.folder() == str(tmp_path / ".cache" / "fastsac" / "inductor")
    monkeypatch.setenv(compile_cache.CACHE_DIR, os.path.join(tempfile.gettempdir(), "torchinductor_somebody"))
    assert compile_cache.folder() == str(tmp_path / ".cache" / "fastsac" / "inductor")


def of_another_user(tmp_path):
    """A folder that is not ours."""
    if os.geteuid() != 0:
        return Path("/usr")
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 12345, -1)
    return tmp_path / "theirs"


def link_to_another_users(tmp_path):
    (tmp_path / "link").symlink_to(of_another_user(tmp_path))
    return tmp_path / "link"


def writable_by_the_group(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o775)
    return tmp_path / "shared"


def a_file(tmp_path):
    (tmp_path / "file").touch()
    return tmp_path / "file"


def not_to_be_made(tmp_path):
    return Path("/proc/no/such")


REFUSED = [
    (of_another_user, "must be your own folder, got one of user"),
    (link_to_another_users, "must be your own folder, got one of user"),
    (writable_by_the_group, "must be writable by nobody else, got mode 775. Run chmod go-w"),
    (a_file, "cannot be made: Not a directory. Set TORCHINDUCTOR_CACHE_DIR"),
    (not_to_be_made, "cannot be made: No such file or directory. Set TORCHINDUCTOR_CACHE_DIR"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_a_folder_that_is_not_safe_or_not_usable_is_refused_before_work(tmp_path, monkeypatch, capsys, make, message):
    path = make(tmp_path)
    monkeypatch.setenv(compile_cache.CACHE_DIR, str(path))
    flags = ["--env", "tests.support.scripted_env:5c", "--run-dir", str(tmp_path / "run"), "--device", "cpu"]
    assert main(["train", *flags, "--compile", "on"]) == 2
    captured = capsys.readouterr()
    assert f"compile cache {path} {message}" in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out
    assert not (tmp_path / "run").exists()
    check = doctor.check_cache()
    assert check.status == "fail"
    assert check.detail.startswith(f"compile cache {path} ")
    assert doctor.PROBES["compile"]().status == "fail"


def test_eager_runs_need_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(compile_cache.CACHE_DIR, "/proc/no/such")
    code = "import sys, fastsac.cli.main; sys.exit(fastsac.cli.main.main(sys.argv[1:]))"
    flags = [
        "--env", "tests.support.scripted_env:5c", "--run-dir", f"{tmp_path}/run", "--device", "cpu", "--compile", "off",
        "--total-steps", "20", "--learning-starts", "8", "--batch-size", "4", "--num-envs", "1", "--hidden-dims", "8",
    ]  # fmt: skip
    subprocess.run([sys.executable, "-c", code, "train", *flags], check=True, capture_output=True, timeout=300)
    assert (tmp_path / "run" / "summary.json").exists()


def test_there_may_be_no_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in {"HOME": "relative", "XDG_CACHE_HOME": "", compile_cache.CACHE_DIR: ""}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="cannot be made"):
        compile_cache.check()
    assert list(tmp_path.iterdir()) == []


def test_a_torch_that_keeps_headers_elsewhere_compiles_without_them(monkeypatch):
    from torch._inductor import codecache, config

    monkeypatch.delattr(codecache, "_HEADER_DIR")
    with config.patch(cpp_cache_precompile_headers=True):  # and back: monkeypatch would take the name away
        compile_cache.move_headers()
        assert not config.cpp_cache_precompile_headers


def test_doctor_shows_the_folder(tmp_path):
    assert doctor.check_cache() == doctor.Check("ok", str(tmp_path / "named"))


def test_libraries_that_the_linker_did_not_finish_are_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    whole = Path(json.__file__).parents[1] / "lib-dynload"
    library = next(whole.glob("*.so")).read_bytes()
    files = {name: tmp_path / "ab" / f"{name}.so" for name in ("whole", "empty", "cut", "header", "young")}
    files["whole"].parent.mkdir()
    for name, content in zip(files, (library, b"", library[:-64], library[:64], b""), strict=True):
        files[name].write_bytes(content)
        os.utime(files[name], (0, 0) if name != "young" else None)
    assert {Path(path).stem for path in compile_cache.remove_broken(older_than_s=60)} == {"empty", "cut", "header"}
    assert [name for name, path in files.items() if path.exists()] == ["whole", "young"]
    assert compile_cache.remove_broken(older_than_s=0) == [str(files["young"])]
