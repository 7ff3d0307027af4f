"""The doctor: the real report of this machine, and what each broken thing turns into."""

import io

import pytest
import torch
from rich.console import Console

from fastsac.cli import doctor
from fastsac.cli.doctor import Check
from fastsac.runtime import device


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
