"""What `auto` chooses, where that depends on what is installed."""

import pytest
import torch
from torch.torch_version import TorchVersion

from fastsac.run import plan
from fastsac.run.plan import choose_mode
from tests.support.runs import BASE

CPU = torch.device("cpu")
LONG = BASE.replace(total_steps=100_000, compile="auto")


@pytest.mark.parametrize(("version", "mode"), [("2.11.0+cu130", "eager"), ("2.12.0", "compiled")])
def test_several_members_are_not_compiled_where_that_is_wrong(monkeypatch, version, mode):
    monkeypatch.setattr(plan, "TORCH", TorchVersion(version))
    assert choose_mode(LONG, CPU)[0] == "compiled"
    several = LONG.replace(seeds=2)
    assert choose_mode(several, CPU)[0] == mode
    assert choose_mode(several, torch.device("cuda"))[0] == "captured"
    if mode == "eager":
        assert "torch 2.11.0+cu130 compiles several members wrongly" in choose_mode(several, CPU)[1]
        with pytest.raises(ValueError, match=r"compile on gives several members wrong steps .* Install torch 2\.12"):
            choose_mode(several.replace(compile="on"), CPU)
