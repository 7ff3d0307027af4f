"""A policy as one program: raw observations in, commands in the task's own units out.

Axes: B batch, O obs_dim, A action_dim, C channels, H height, W width.
"""

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from fastsac.env import EnvSpec, first_line
from fastsac.policy import Policy

OBS, NOISE, ACTIONS = "obs", "noise", "actions"  # names of what goes in and comes out


class ExportError(RuntimeError):
    """A policy that torch cannot turn into a program or a file, or a file that does not do what the policy does."""


class Deployed(nn.Module):
    """A policy whose numbers are buffers.

    Its normaliser, running statistics, tanh and scaling are inside; what it computes is what `Policy` does.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self._policy = policy
        for name, value in policy.numbers.items():
            self.register_buffer(name.replace(".", "_"), value.clone())

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Actions float32 [B, A] in the task's units, or numbers of choices int64 [B].

        Args:
            obs: float32 [B, O], raw; of images uint8 [B, C, H, W].
            noise: standard normal float32 [B, A]; None for the best actions.
        """
        numbers = dict(zip(self._policy.numbers, self.buffers(), strict=True))
        return self._policy.scale(numbers, self._policy.compute(numbers, obs.flatten(1), noise))


def input_names(stochastic: bool) -> list[str]:
    """The names of the program's inputs."""
    return [OBS, NOISE] if stochastic else [OBS]


def batch_of(spec: EnvSpec, rows: Tensor) -> Tensor:
    """Rows [B, O] of the environment contract as the program takes them."""
    return rows.reshape(-1, *spec.image) if spec.image else rows


def make_program(policy: Policy, stochastic: bool) -> ExportedProgram:
    """The program of a policy for any B from 1 on; with noise as its second input where it is stochastic.

    Raises ExportError where torch cannot trace the algorithm or its network.
    """
    spec = policy.spec
    rows = torch.zeros(2, spec.obs_dim, dtype=torch.uint8 if spec.image else torch.float32)
    noise = torch.zeros(2, spec.action_dim)
    inputs = (batch_of(spec, rows), noise) if stochastic else (batch_of(spec, rows),)
    batch = Dim("batch", min=1)
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(Deployed(policy).eval(), inputs, dynamic_shapes=({0: batch},) * len(inputs))
    except Exception as error:
        raise ExportError(f"torch.export cannot trace {what(policy)}: {first_line(error)}.") from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine, at every node
    return program


def what(policy: Policy) -> str:
    """What is exported, in words."""
    return f"algo {policy.config.algo} with network {policy.config.network}"


def in_float32(policy: Policy) -> Policy:
    """The policy without products in bfloat16, which runtimes round differently."""
    if not policy.config.bf16:
        return policy
    exact = copy.copy(policy)
    exact.config = policy.config.replace(bf16=False)
    exact.algorithm = type(policy.algorithm)(exact.config, policy.spec)
    return exact


@contextmanager
def quiet() -> Iterator[None]:
    """Without what torch says of its own parts, and onnxscript prints of its rules: who exports cannot mend it."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
