"""What an exported file says of itself: texts by name, lists with commas between, the rest as JSON.

Names that mjlab's files have are theirs (run_path, joint_names, observation_names).  What is not known is left out.

Axes: B batch, O obs_dim, A action_dim.
"""

import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastsac.env import EnvSpec, action_range, action_shape, parts_of
from fastsac.policy import Policy
from fastsac.run.card import made_with
from fastsac.runtime.versions import git_commit, versions

PACKAGES = ("fastsac", "torch", "onnx", "onnxscript", "onnxruntime", "numpy")


def describe(policy: Policy, spec: EnvSpec, rows: NDArray[Any], stochastic: bool) -> dict[str, str]:
    """All that is known of a policy.

    Args:
        policy: that is exported.
        spec: of the task, as its simulator tells it now.
        rows: recorded observations [B, O].
        stochastic: whether the program takes noise.
    """
    texts = {
        **_of_run(policy),
        **_of_observations(policy.spec, rows),
        **_of_actions(policy.spec),
        "stochastic": json.dumps(stochastic),
        "joint_names": ",".join(spec.joint_names),
    }
    return {name: text for name, text in texts.items() if text}


def _of_run(policy: Policy) -> dict[str, str]:
    config, origin = policy.config, made_with(policy.run_dir)
    return {
        "run_path": str(policy.run_dir),
        "env_id": policy.spec.env_id,
        "env_kwargs": json.dumps(config.env_kwargs_of_evaluation),
        "algo": config.algo,
        "network": config.network,
        "member": config.member_name(policy.member),
        "env_steps": str(policy.env_steps),
        "trained_by": _json({"git_commit": origin.git_commit, **origin.versions}),
        "exported_by": _json({"git_commit": git_commit(), **versions(PACKAGES)}),
    }


def _of_observations(spec: EnvSpec, rows: NDArray[Any]) -> dict[str, str]:
    parts = parts_of(spec)
    stops = list(itertools.accumulate(part.size for part in parts))
    layout = [
        {
            "name": part.name,
            "start": stop - part.size,
            "stop": stop,
            "shape": list(part.shape),
            "dtype": np.dtype(part.dtype).name,
            **({} if part.states is None else {"one_hot_of": [part.states.start, part.states.stop - 1]}),
        }
        for part, stop in zip(parts, stops, strict=True)
    ]
    texts = {"observation_names": ",".join(part.name for part in parts), "observation_layout": json.dumps(layout)}
    if spec.image:
        return texts | {"observation_shape": json.dumps(spec.image)}
    return texts | {"observation_recorded_low": _csv(rows.min(0)), "observation_recorded_high": _csv(rows.max(0))}


def _of_actions(spec: EnvSpec) -> dict[str, str]:
    if spec.discrete:
        return {"action_kind": "discrete", "action_count": str(spec.action_dim), "action_start": str(spec.action_start)}
    shape, (low, high) = json.dumps(action_shape(spec)), action_range(spec)
    return {"action_kind": "continuous", "action_shape": shape, "action_low": _csv(low), "action_high": _csv(high)}


def _csv(numbers: Iterable[float]) -> str:
    return ",".join(f"{float(number):.9g}" for number in numbers)


def _json(values: Mapping[str, str | None]) -> str:
    known = {name: value for name, value in values.items() if value is not None}
    return json.dumps(known) if known else ""
