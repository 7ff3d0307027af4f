"""Exported files do what the policy does, whatever its kind; they say what they are; wrong ones are not written."""

import ast
import dataclasses
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import fastsac
import tests.support.gym_envs
import tests.support.nested_env  # noqa: F401  # both register environments
from fastsac.cli.main import main
from fastsac.deploy.check import TOLERANCE
from fastsac.deploy.export import Exported
from fastsac.deploy.formats import FORMATS
from fastsac.deploy.program import ExportError
from fastsac.policy import Policy
from tests.support.runs import BASE

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "onnx_gymnasium.py"
PENDULUM = "gymnasium:Pendulum-v1"
SMALL: dict[str, Any] = {
    "total_steps": 48, "num_envs": 2, "learning_starts": 16, "conv_channels": (2,), "env_kwargs": {},
    "eval_episodes": 1, "max_episode_steps": 9, "cpu_threads": 1,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "obs_norm": {"env": PENDULUM, "obs_norm": True},
    "bounds and dictionaries": {"env": "gymnasium:Nested-v0", "hidden_dims": (8, 8), "activation": "gelu"},
    "flash": {"env": PENDULUM, "network": "flash"},
    "simba": {"env": PENDULUM, "network": "simba", "obs_norm": True},
    "sampler": {"env": PENDULUM, "algo": "sql"},
    "bf16": {"env": PENDULUM, "bf16": True},
    "choices from 3": {"env": "gymnasium:Choices-v0"},
    "values of choices": {"env": "gymnasium:Choices-v0", "algo": "sql-discrete", "network": "flash"},
    "image": {"env": "gymnasium:Pictures-v0"},
    "choices by image": {"env": "tests.support.image_env:Side", "max_episode_steps": None},
}


def train(folder: Path, **changes: Any) -> Policy:
    return fastsac.load(fastsac.train(BASE.replace(run_dir=folder / "run", **{**SMALL, **changes})).run_dir)


SAMPLED = ["bounds and dictionaries", "sampler", "choices from 3"]  # also exported with noise


class Files(NamedTuple):
    """What a policy was exported to."""

    policy: Policy
    folder: Path
    exported: Exported

    @property
    def texts(self) -> dict[str, str]:
        return metadata_of(self.folder / "p.onnx")


@pytest.fixture(scope="module")
def files_of(tmp_path_factory):
    """`files_of(kind, stochastic)`: trained and exported once."""

    @cache
    def trained(kind: str) -> Policy:
        return train(tmp_path_factory.mktemp("run"), **KINDS[kind])

    @cache
    def files_of(kind: str, stochastic: bool = False) -> Files:
        folder, policy = tmp_path_factory.mktemp("files"), trained(kind)
        exported = fastsac.export(policy, folder / "p.onnx", folder / "p.pt2", stochastic=stochastic)
        return Files(policy, folder, exported)

    return files_of


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory):
    return train(tmp_path_factory.mktemp("pendulum"), env=PENDULUM, eval_every=24, max_episode_steps=None)


@pytest.fixture(scope="module")
def choices(files_of):
    return files_of("choices from 3").policy


def observations(spec, count):
    """Raw observations of the right kind, [B, O], and as the file takes them."""
    rng = np.random.default_rng(0)
    if spec.image:
        rows = rng.integers(0, 256, (count, spec.obs_dim), np.uint8)
        return rows, rows.reshape(count, *spec.image)
    rows = rng.standard_normal((count, spec.obs_dim)).astype(np.float32)
    return rows, rows


def metadata_of(path: Path | str) -> dict[str, str]:
    return {str(each.key): str(each.value) for each in onnx.load(path).metadata_props}


@pytest.mark.parametrize(("kind", "stochastic"), [(kind, False) for kind in KINDS] + [(kind, True) for kind in SAMPLED])
def test_both_formats_give_the_policys_actions(files_of, kind, stochastic):
    policy, folder, exported = files_of(kind, stochastic)
    onnx_file, pt2_file = folder / "p.onnx", folder / "p.pt2"
    assert [file.path for file in exported.files] == [onnx_file, pt2_file]
    assert all(0 <= file.error <= TOLERANCE for file in exported.files)
    assert [file.num_bytes for file in exported.files] == [onnx_file.stat().st_size, pt2_file.stat().st_size]

    session, program, spec = onnxruntime.InferenceSession(onnx_file), torch.export.load(pt2_file).module(), policy.spec
    names = [each.name for each in session.get_inputs()]
    assert names == ["obs", "noise"][: 1 + stochastic]
    for count in (1, 7):
        rows, obs = observations(spec, count)
        torch.manual_seed(5)
        expected = policy.act(rows, deterministic=not stochastic)
        torch.manual_seed(5)
        inputs = [obs, torch.randn(count, spec.action_dim).numpy()][: 1 + stochastic]
        (by_onnx,) = session.run(["actions"], dict(zip(names, inputs, strict=True)))
        by_torch = program(*map(torch.from_numpy, inputs)).numpy()
        for actions in (by_onnx, by_torch):
            assert actions.shape == ((count,) if spec.discrete else (count, spec.action_dim))
            assert actions.dtype == (np.int64 if spec.discrete else np.float32)
            # Of bfloat16 the policy in float32 is exported.
            np.testing.assert_allclose(actions, expected, rtol=0, atol=0.1 if policy.config.bf16 else 4e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_files_say_what_they_are(files_of, kind):
    files = files_of(kind)
    policy, folder, texts = files.policy, files.folder, files.texts
    model, extra = onnx.load(folder / "p.onnx"), {"metadata.json": ""}
    onnx.checker.check_model(model, full_check=True)
    torch.export.load(folder / "p.pt2", extra_files=extra)
    assert json.loads(extra["metadata.json"]) == texts
    assert [each.version for each in model.opset_import] == [20]
    assert [each.type.tensor_type.shape.dim[0].dim_param for each in model.graph.input] == ["batch"]

    spec = policy.spec
    assert (texts["run_path"], texts["env_id"]) == (str(policy.run_dir), spec.env_id)
    assert (texts["algo"], int(texts["env_steps"])) == (policy.config.algo, 48)
    assert json.loads(texts["exported_by"])["onnxruntime"] == onnxruntime.__version__
    assert "torch" in json.loads(texts["trained_by"])
    layout = json.loads(texts["observation_layout"])
    assert [part["name"] for part in layout] == texts["observation_names"].split(",")
    assert [part["start"] for part in layout[1:]] == [part["stop"] for part in layout[:-1]]
    assert layout[-1]["stop"] == spec.obs_dim
    assert "joint_names" not in texts, "these simulators tell none"


def test_names_ranges_and_bounds(files_of):
    nested = files_of("bounds and dictionaries").texts
    assert nested["observation_names"] == "a:x,a:y,b"
    assert json.loads(nested["observation_layout"])[0] == {
        "name": "a:x", "start": 0, "stop": 4, "shape": [2, 2], "dtype": "float32",
    }  # fmt: skip
    assert (nested["action_low"], nested["action_high"], nested["action_shape"]) == ("-3", "1", "[1]")
    low, high = (nested[f"observation_recorded_{end}"].split(",") for end in ("low", "high"))
    assert (low[:4], high[:4]) == (["0"] * 4, ["2"] * 4), "the steps of its episodes of 3"
    assert files_of("bounds and dictionaries", True).texts["stochastic"] == "true"
    choices = files_of("choices from 3").texts
    assert (choices["action_kind"], choices["action_count"], choices["action_start"]) == ("discrete", "4", "3")
    assert json.loads(choices["observation_layout"])[0]["one_hot_of"] == [2, 6]
    picture = files_of("image").texts
    assert json.loads(picture["observation_shape"]) == [3, 36, 40]
    assert "observation_recorded_low" not in picture


def test_joints_are_named_where_the_simulator_names_them(tmp_path):
    pytest.importorskip("mujoco")
    fastsac.export(train(tmp_path, env="gymnasium:Hopper-v5"), tmp_path / "p.onnx")
    assert metadata_of(tmp_path / "p.onnx")["joint_names"] == "thigh_joint,leg_joint,foot_joint"


def test_no_line_of_this_machines_code_is_in_the_files(files_of):
    for name in ("p.onnx", "p.pt2"):
        assert str(ROOT).encode() not in (files_of("obs_norm").folder / name).read_bytes()


class Shifted(Policy):
    """A policy that does a little else than its program."""

    def act(self, obs: Any, deterministic: bool = True, normalized: bool = False) -> Any:
        return super().act(obs, deterministic, normalized) + 4 * 2e-5  # Pendulum's actions are from -2 to 2


def test_a_file_that_does_something_else_is_not_written(pendulum, tmp_path):
    off = fastsac.load(pendulum.run_dir)
    off.__class__ = Shifted
    (tmp_path / "p.pt2").write_text("mine")
    with pytest.raises(ExportError, match=r"p\.onnx was not written: its actions differ .* up to 2.0e-05 of their"):
        fastsac.export(off, tmp_path / "p.onnx", tmp_path / "p.pt2", overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"p.pt2": b"mine"}


class Another(Policy):
    """A policy that takes the choice after that of its program."""

    def act(self, obs: Any, deterministic: bool = True, normalized: bool = False) -> Any:
        return (super().act(obs, deterministic, normalized) - 3 + 1) % 4 + 3


def test_a_file_that_gives_nan_for_one_observation_alone_is_refused(pendulum, tmp_path, monkeypatch):
    def load(content: bytes) -> Any:
        return lambda obs: np.full((len(obs), 1), np.nan if len(obs) == 1 else 0, np.float32)

    monkeypatch.setitem(FORMATS, "pt2", dataclasses.replace(FORMATS["pt2"], load=load))
    monkeypatch.setattr("fastsac.deploy.check.TOLERANCE", 2.0)  # of zeros, which are wrong too
    with pytest.raises(ExportError, match="was not written: its actions differ from the policy's by up to nan"):
        fastsac.export(pendulum, tmp_path / "p.pt2")
    assert not list(tmp_path.iterdir())


def test_another_choice_is_wrong_unless_it_is_as_good(choices, tmp_path):
    policy = fastsac.load(choices.run_dir)
    policy.__class__ = Another
    with pytest.raises(ExportError):
        fastsac.export(policy, tmp_path / "p.pt2")
    for each in policy.numbers.values():
        each.zero_()  # now all have the score 0
    assert fastsac.export(policy, tmp_path / "p.pt2").files[0].error == 0


def test_an_algorithm_that_cannot_be_traced_is_named(pendulum, tmp_path, monkeypatch):
    def choose(net, obs, noise):
        return torch.tensor(obs.tolist())[:, :1]

    odd = fastsac.load(pendulum.run_dir)
    monkeypatch.setattr(odd.algorithm, "choose", choose)
    with pytest.raises(ExportError, match=r"^torch\.export cannot trace algo sac with network mlp: \w[^\n]+\.$"):
        fastsac.export(odd, tmp_path / "p.onnx")
    assert not list(tmp_path.iterdir())


def test_wrong_calls_are_refused_before_any_work(pendulum, tmp_path, monkeypatch):
    (tmp_path / "there.onnx").touch()
    for paths, message in (
        ([], "path must be given, for example policy.onnx."),
        (["p.tflite"], "the path must end in .onnx or .pt2, got p.tflite."),
        ([tmp_path / "there.onnx"], "there.onnx exists. Give another path, or overwrite it (--overwrite)."),
        ([tmp_path / "no" / "p.onnx"], "no is not a folder. Make it, or give another path."),
    ):
        with pytest.raises(ValueError) as error:  # noqa: PT011  # the message is compared below
            fastsac.export("nowhere", *paths)
        assert str(error.value).endswith(message)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ValueError, match=r"onnx and onnxscript must be installed .*\"fastsac\[export\]\", or .* pt2\."):
        fastsac.export("nowhere", "p.onnx")
    fastsac.export(pendulum, tmp_path / "p.pt2")
    assert {path.name for path in tmp_path.iterdir()} == {"there.onnx", "p.pt2"}


def command(capsys, *args):
    status = main(["export", *map(str, args)])
    return status, *capsys.readouterr()


def test_the_command(pendulum, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = pendulum.run_dir
    status, out, err = command(capsys, run)
    assert (status, err) == (0, "")
    for name, line in zip(("policy.onnx", "policy.pt2"), out.splitlines(), strict=False):
        size = (run / name).stat().st_size
        assert line.startswith(f"{run / name}: {size:,} bytes, largest error ")
        assert " in 1,000 observations, " in line
    status, _, err = command(capsys, run)
    assert (status, err.count("\n")) == (2, 1)
    assert "policy.onnx exists. Give another path" in err
    assert command(capsys, run, "--overwrite", "--format", "pt2")[0] == 0

    status, out, _ = command(capsys, run, "--output", "best.onnx", "--checkpoint", "best", "--stochastic", "--json")
    report = json.loads(out)
    assert status == 0
    assert (report["checkpoint"], report["stochastic"], report["files"][0]["path"]) == ("best", True, "best.onnx")
    assert metadata_of("best.onnx")["env_steps"] == str(fastsac.load(run, checkpoint="best").env_steps)
    status, _, err = command(capsys, run, "--output", "other.onnx", "--format", "pt2")
    assert (status, "format pt2 is not that of other.onnx. Leave --format out." in err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["best.onnx"]


def test_a_failing_environment_ends_it_with_one_line(tmp_path, capsys):
    policy = train(tmp_path, env="tests.support.scripted_env:5c", max_episode_steps=None)
    config = policy.run_dir / "config.json"
    config.write_text(policy.config.replace(env_kwargs={"nan_obs": [1, 5]}).to_json())
    status, _, err = command(capsys, policy.run_dir, "--format", "pt2")
    assert (status, err.splitlines()[-1].count("returned an observation that is not finite")) == (1, 1)
    assert not list(policy.run_dir.glob("policy.*"))


def test_the_example_gets_the_return_of_an_evaluation_without_fastsac_or_torch(pendulum, tmp_path, capsys):
    imported = {node.names[0].name for node in ast.walk(ast.parse(EXAMPLE.read_text())) if isinstance(node, ast.Import)}
    assert imported == {"sys", "gymnasium", "numpy", "onnxruntime"}
    path = tmp_path / "p.onnx"
    fastsac.export(pendulum, path)
    capsys.readouterr()
    assert main(["eval", str(pendulum.run_dir), "--episodes", "3", "--json"]) == 0
    evaluation = json.loads(capsys.readouterr().out)
    code = f"""
import runpy, sys
sys.argv = {[str(EXAMPLE), str(path), "Pendulum-v1", *map(str, evaluation["seeds"])]}
runpy.run_path(sys.argv[0])
print({{"torch", "fastsac"}} & {{*sys.modules}})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    line, loaded = done.stdout.splitlines()
    assert loaded == "set()"
    assert abs(float(line.removeprefix("mean return ")) - evaluation["return_mean"]) < 1e-3


@pytest.mark.parametrize("args", [[], ["policy.onnx", "Pendulum-v1"]])
def test_the_example_without_its_arguments_says_which_it_takes(args):
    done = subprocess.run([sys.executable, EXAMPLE, *args], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "usage: python onnx_gymnasium.py policy.onnx ENV_ID SEED...\n"
