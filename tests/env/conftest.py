"""What tests of environments share."""

import pytest


@pytest.fixture(autouse=True)
def own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects that a test hands over are forgotten after it: names of those to come would count on from theirs."""
    monkeypatch.setattr("fastsac_envs.python._ADOPTED", {})
