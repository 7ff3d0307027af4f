"""The doctor: the real report of this machine, and what each broken thing turns into."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from rich.console import Console

from fastsac.cli import doctor
from fastsac.cli.doctor import Check
from fastsac.runtime import device
from tests.support.launched import launch, values


def test_this_machine_can_train() -> None:
    seen: list[str] = []
    checks = doctor.report(seen.append)
    assert list(checks) == seen == list(doctor.PROBES)
    assert [check for check in checks.values() if check.status == "fail"] == []
    assert f"torch {torch.__version__}" in checks["packages"].detail
    assert "Pendulum-v1 steps" in checks["environments"].detail


def test_small_update_moves_the_weights() -> None:
    weight = doctor.run_small_update(torch.device("cpu"), "eager")
    assert not torch.allclose(weight, torch.linspace(0, 1, 8))
    assert torch.isfinite(weight).all()


def test_broken_probe_becomes_a_failed_line() -> None:
    def probe() -> Check:
        raise ImportError("libcudart.so.12: cannot open\nmore")

    check = doctor.attempt(probe)
    assert (check.status, check.detail) == ("fail", "ImportError: libcudart.so.12: cannot open")


def test_missing_package_fails_with_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("torch", "no-such-package-here"))
    check = doctor.check_packages()
    assert check.status == "fail"
    assert check.remedy.endswith("pip install no-such-package-here")


def test_no_compiler_is_a_warning_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cpp_compiler", lambda: None)
    monkeypatch.setattr("fastsac.run.mode.cpp_compiler", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert doctor.check_compiler().status == "warning"
    assert doctor.PROBES["compile"]() == Check("ok", "not tried: auto chooses update eager here")
    assert "update eager" in doctor.check_auto().detail


def test_failing_compile_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> torch.Tensor:
        raise RuntimeError("Python.h: No such file")

    monkeypatch.setattr(doctor, "chosen", lambda: (torch.device("cpu"), "compiled"))
    monkeypatch.setattr(doctor, "run_small_update", broken)
    check = doctor.PROBES["compile"]()
    assert (check.status, check.detail) == ("fail", "RuntimeError: Python.h: No such file")
    assert "--compile off" in check.remedy


def test_wrong_numbers_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "chosen", lambda: (torch.device("cpu"), "compiled"))
    monkeypatch.setattr(doctor, "run_small_update", lambda _, mode: torch.tensor([1.0 if mode == "eager" else 2.0]))
    assert "other numbers" in doctor.PROBES["compile"]().detail


# Processes ------------------------------------------------------------------------------------------------------------


def test_a_process_alone_says_what_others_would_reduce_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "is_nccl_available", lambda: True)
    check = doctor.check_processes()
    assert (check.status, check.detail.partition("; ")[2]) == (
        "ok",
        "torchrun can start several, which reduce by gloo, between GPUs by nccl",
    )
    monkeypatch.setattr(dist, "is_nccl_available", lambda: False)
    assert doctor.check_processes().detail.endswith("by gloo")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert doctor.check_processes().status == "warning"
    monkeypatch.setattr(dist, "is_gloo_available", lambda: False)
    assert doctor.check_processes().detail == "torch has no torch.distributed with gloo"


DOCTOR = """import sys
from fastsac.cli import doctor
doctor.PROBES = {"gpu": doctor.check_gpu, "processes": doctor.check_processes}
sys.exit(doctor.run([]))
"""


def test_of_two_processes_the_first_one_prints_what_they_are(tmp_path: Path) -> None:
    """Under torchrun; they look at nothing but GPUs and each other."""
    script = tmp_path / "doctor.py"
    script.write_text(DOCTOR)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    ranks = "; ".join(rf"rank {rank} \(\S+:\d+\) cpu" for rank in range(2))
    pattern = rf"ok processes {ranks}; by gloo: latency \S+ ms, 3\.8 MiB in \S+ ms \(\S+ GB/s\) This machine"
    assert re.search(pattern, text), text
    assert text.count("This machine can train.") == 1  # rank 0 alone


def doctor_with_one_gpu() -> int:
    """The status of a doctor that looks at processes alone, and believes in one GPU."""
    torch.cuda.is_available, torch.cuda.device_count = lambda: True, lambda: 1
    torch.cuda.get_device_properties = lambda *_: SimpleNamespace(uuid="a")  # type: ignore[assignment]
    doctor.PROBES = {"processes": doctor.check_processes}
    return doctor.run([])


def test_more_processes_than_gpus_are_one_line(tmp_path: Path) -> None:
    first, second = launch(tmp_path, 2, doctor_with_one_gpu)
    assert values([first, second]) == [1, 1]
    assert " ".join(first.out.split()) == (
        "fail processes 2 processes need 2 GPUs, and there is 1 Start torchrun with --nproc-per-node 1, or share one "
        "by --device cuda:0. Training would fail here: processes."
    )
    assert not second.out


@pytest.mark.parametrize(("status", "expected"), [("ok", 0), ("warning", 0), ("fail", 1)])
def test_exit_status(status: doctor.Status, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBES", {"thing": lambda: Check(status, "detail", "remedy")})
    assert doctor.run([]) == expected


def test_show_is_plain_in_a_pipe() -> None:
    out = io.StringIO()
    checks = {"gpu": Check("warning", "no [driver]", "Install one."), "python": Check("fail", "3.9")}
    doctor.show(checks, Console(file=out, width=80))
    assert [line.rstrip() for line in out.getvalue().splitlines()] == [
        "warning  gpu     no [driver]",
        "                 Install one.",
        "fail     python  3.9",
        "",
        "Training would fail here: python.",
    ]
