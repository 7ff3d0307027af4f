"""Networks and critics' heads that are named by a module or an entry point: used as the page says, and refused."""

import importlib.metadata
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import fastsac
from fastsac.algorithms.heads import HEADS
from fastsac.algorithms.heads.scalar import Scalar
from fastsac.algorithms.plugins import find_head, find_network
from fastsac.algorithms.registry import get_algorithm
from fastsac.cli.main import main
from fastsac.config.plugins import OURS
from fastsac.nn.mlp import Mlp
from fastsac.nn.network import ARCHITECTURES
from tests.support.algorithms import spec_of
from tests.support.learners import BASE, make
from tests.support.runs import complaints, run

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
OWN: dict[str, Any] = {"network": "my_networks:D2rl", "critic_head": "my_heads:Huber"}


@pytest.fixture(autouse=True)
def modules(tmp_path, monkeypatch):
    """The page's files in the working directory, which nobody has imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name, block in zip(("my_networks", "my_heads"), BLOCKS[:2], strict=True):
        Path(f"{name}.py").write_text(block)
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_the_page_is_true(capsys):
    exec(BLOCKS[2], {})
    assert "Pendulum-v1: return" in capsys.readouterr().out


def test_a_network_of_ones_own_gives_what_it_says():
    network = find_network("my_networks:D2rl")(3, (4, 5), 2, num_nets=2)
    assert network.shapes == {"layer0": (2, 8, 4), "layer1": (2, 8, 5), "layer2": (2, 16, 2)}
    draw = {name: torch.rand(shape) * 2 - 1 for name, shape in network.shapes.items()}
    params, x = network.init(draw), torch.randn(6, 3)
    out, _ = network.apply(params, {}, x, False)
    for e in range(2):
        y = x
        for i, width in enumerate((3, 7)):
            layer = params[f"layer{i}"][e]
            y = torch.cat([torch.relu(y @ layer[:width] + layer[width]), x], -1)
        layer = params["layer2"][e]
        torch.testing.assert_close(out[e], y @ layer[:8] + layer[8])


def test_members_learn_with_them_as_alone_and_by_recorded_launches(recorder):
    many, alone = make("captured", **{**OWN, "seeds": 2}), make(**{**OWN, "seed": 6})
    for learner in (many, alone):
        learner.launch([5] * learner.config.num_members)
    assert recorder.replayed > 0
    critics = [learner.buffers["state"]["params"]["critic"] for learner in (many, alone)]
    torch.testing.assert_close(critics[0][1], critics[1][0], rtol=1e-4, atol=1e-5)


def test_runs_go_on_and_policies_load_where_the_module_is_and_else_a_line_says_so(tmp_path, capsys, monkeypatch):
    result = run(tmp_path, **OWN)
    assert main(["train", "--resume", str(result.run_dir), "--total-steps", "80"]) == 0
    assert "train: importing my_networks from " in capsys.readouterr().err
    assert fastsac.load(result.run_dir).act(torch.zeros(5)).shape == (2,)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path)])
    for name in ("my_networks", "my_heads"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    message = r"^critic_head my_heads:Huber cannot be imported: No module named 'my_heads'\. Put the module into "
    with pytest.raises(ValueError, match=message):
        fastsac.load(result.run_dir)
    assert main(["eval", str(result.run_dir)]) == 2
    assert complaints(capsys.readouterr().err).startswith("fastsac eval: critic_head my_heads:Huber cannot be imported")


def test_modules_that_come_along_with_a_run_are_not_imported(tmp_path, capsys, monkeypatch):
    result = run(tmp_path, **OWN)
    for name in ("my_networks", "my_heads"):
        Path(f"{name}.py").rename(result.run_dir / f"{name}.py")
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(result.run_dir)
    message = "network must not name a module that lies beside "
    for call in (lambda: fastsac.load("."), lambda: fastsac.train(resume=".", total_steps=80)):
        with pytest.raises(ValueError, match=f"^{message}.* Move the module elsewhere if you trust that code\\.$"):
            call()
    assert main(["train", "--resume", ".", "--total-steps", "80"]) == 2
    assert message in capsys.readouterr().err
    assert not {"my_networks", "my_heads"} & {*sys.modules}


def test_entry_points_of_packages_are_names(tmp_path, monkeypatch):
    folder = tmp_path / "my_package-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[fastsac.networks]\nd2rl = my_networks:D2rl\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [point.name for point in importlib.metadata.entry_points(group="fastsac.networks")] == ["d2rl"]
    algorithm = get_algorithm("sac")(BASE.replace(network="d2rl"), spec_of("sac"))
    assert type(algorithm.networks["critic"].body).__name__ == "D2rl"
    with pytest.raises(ValueError, match=r"^network must be one of mlp, simba, flash, d2rl, or .*, got 'd2lr'\.$"):
        BASE.replace(network="d2lr")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "mpl"}, "must be one of mlp, simba, flash, or \"package.module:Class\", got 'mpl'."),
        ({"critic_head": ":X"}, "must be one of scalar, categorical, or \"package.module:Class\", got ':X'."),
        ({"network": "nowhere:X"}, "nowhere:X cannot be imported: No module named 'nowhere'."),
        ({"network": "a b:X"}, "a b:X cannot be imported: 'a b' is not the name of a module."),
        ({"network": "my_networks:Other"}, "my_networks:Other cannot be found: module my_networks has no Other."),
        ({"network": "math:X"}, "math:X cannot be found: module math has no X. Correct the name."),
        ({"network": "math:pi"}, "math:pi must be a subclass of fastsac.Architecture, got 3.14"),
        ({"network": "broken:X"}, "broken:X cannot be imported: broken raised KeyError: 'mine'. Mend the module."),
        ({"network": "unreadable:X"}, "unreadable:X cannot be imported: unreadable raised SyntaxError: "),
        ({"network": "my_heads:Huber"}, "my_heads:Huber must be a subclass of fastsac.Architecture, got <class"),
        ({"critic_head": "fastsac:Head"}, "fastsac:Head lacks encode, loss, target, value; see fastsac.Head."),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_names_are_refused_before_any_work(tmp_path, changes, message):
    Path("broken.py").write_text("raise KeyError('mine')")
    Path("unreadable.py").write_text("class X")
    with pytest.raises(ValueError, match=f"^{next(iter(changes))} {re.escape(message)}[^\n]*$"):
        run(tmp_path, **changes)
    assert not (tmp_path / "run").exists()


def test_what_a_network_of_ones_own_has_not_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^activation has no effect on network my_networks:D2rl\. Leave it out\.$"):
        run(tmp_path, **OWN, activation="tanh")


def test_ours_are_as_they_were():
    assert (find_network("mlp"), find_head("scalar")) == (Mlp, Scalar)
    assert {"network": (*ARCHITECTURES,), "critic_head": (*HEADS,)} == OURS


@pytest.mark.slow
def test_compiled_agrees_with_eager():
    actions = []
    for mode in ("eager", "compiled"):
        learner = make(mode, **OWN)
        learner.launch([5])
        actions.append(learner.act_deterministic(torch.ones(1, 4, 3)))
    torch.testing.assert_close(*actions, rtol=1e-3, atol=1e-4)
