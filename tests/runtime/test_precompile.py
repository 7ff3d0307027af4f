"""The C++ compiler is made ready by a process beside the run, once, and that process does not outlive the run."""

import subprocess
import sys
import time

import pytest

from fastsac.runtime import precompile


@pytest.fixture
def started(monkeypatch):
    """The processes that were started for it (the compiler's own are not in it)."""
    processes = []
    popen = subprocess.Popen

    def start(*args, **kwargs):
        process = popen(*args, **kwargs)
        if args[0] is precompile.COMMAND:
            processes.append(process)
        return process

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(precompile, "num_cpus", lambda: 2)
    return processes


def test_it_compiles_and_is_not_started_again(tmp_path, started, monkeypatch):
    mark = tmp_path / "mark"
    monkeypatch.setattr(precompile, "_mark", lambda: mark)
    precompile.main()  # here, with the cache that the other tests fill
    assert mark.exists()
    with precompile.precompiling():
        assert started == []


def test_it_ends_with_the_run(tmp_path, started, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(precompile, "COMMAND", (sys.executable, "-c", "import time; time.sleep(60)"))
    began = time.monotonic()
    with precompile.precompiling():
        assert started[0].poll() is None
    assert started[0].returncode is not None
    assert time.monotonic() - began < 30


def test_one_core_has_other_things_to_do(tmp_path, started, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(precompile, "num_cpus", lambda: 1)
    with precompile.precompiling():
        assert started == []


def test_files_in_the_working_directory_are_not_run(tmp_path):
    (tmp_path / "torch.py").write_text("open('marker', 'w').close()\n")
    subprocess.run(precompile.COMMAND, cwd=tmp_path, check=True)
    assert not (tmp_path / "marker").exists()
