"""The matrix products of an update and nothing else: what no update of these sizes can be faster than here."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch

from bench.peers.common import Sizes, Work, torch_device

CRITICS = 2


class Product(NamedTuple):
    """One product of batches of matrices: [E, rows, inner] @ [E, inner, columns]."""

    number: int  # E
    rows: int
    inner: int
    columns: int


def products(sizes: Sizes) -> Iterator[Product]:
    """Those of one update of SAC with two critics, in its order.

    The actor at next_obs and obs, the target critics, the critics and their way back, the critics at the new action and
    the way back to it, the actor's way back.  A layer with one output is a sum, which is not counted.
    """
    obs, action, hidden = sizes.obs_dim, sizes.action_dim, sizes.hidden_dims
    actor = list(pairwise((obs, *hidden, 2 * action)))
    critic = list(pairwise((obs + action, *hidden)))
    batch = sizes.batch_size

    def forward(layers: list[tuple[int, int]], count: int) -> Iterator[Product]:
        yield from (Product(count, batch, fan_in, out) for fan_in, out in layers)

    def to_weights(layers: list[tuple[int, int]], count: int) -> Iterator[Product]:
        yield from (Product(count, fan_in, batch, out) for fan_in, out in layers)

    def to_inputs(layers: list[tuple[int, int]], count: int) -> Iterator[Product]:
        yield from (Product(count, batch, out, fan_in) for fan_in, out in layers)

    yield from (*forward(actor, 1), *forward(actor, 1))
    yield from (*forward(critic, CRITICS), *forward(critic, CRITICS), *forward(critic, CRITICS))
    yield from (*to_weights(critic, CRITICS), *to_inputs(critic[1:], CRITICS))
    yield from (*to_inputs(critic[1:], CRITICS), Product(CRITICS, batch, hidden[0], action))
    yield from (*to_weights(actor, 1), *to_inputs(actor[1:], 1))


def updates(sizes: Sizes, members: int = 1, precision: str = "high", once: int = 1) -> Work:
    """The products of so many updates of all members, into memory that is there, with operands that a cache may hold.

    On CUDA those of `once` updates are captured as one graph, so that launching costs as little as it costs an update.
    """
    device = torch_device(sizes.device)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("highest" if precision == "highest" else "high")
    wanted = [p._replace(number=members * p.number) for p in products(sizes)]
    # Shared by those of the same shape, so that all of it fits into a cache; no operand is another product's result.
    places = [list(enumerate(shapes(p))) for p in wanted]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    memory = {place: torch.randn(place[1], device=device, dtype=dtype) for of in places for place in of}
    calls = [tuple(memory[place] for place in of) for of in places]

    def multiply(count: int) -> None:
        for _ in range(count):
            for left, right, out in calls:
                torch.bmm(left, right, out=out)

    if device.type == "cuda":
        multiply(1)  # the library makes its workspace before it is captured
        torch.cuda.synchronize(device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            multiply(once)

    def run(count: int) -> int:
        if device.type != "cuda":
            multiply(count)
            return count
        launches = max(1, round(count / once))
        for _ in range(launches):
            graph.replay()
        torch.cuda.synchronize(device)
        return launches * once

    flops = sum(2 * p.number * p.rows * p.inner * p.columns for p in wanted)
    hyper = {"batch_size": sizes.batch_size, "hidden_dims": sizes.hidden_dims}
    captured = {"captured": once} if device.type == "cuda" else {}
    return Work(run, {"MFLOP": round(flops / 1e6, 1), **captured}, hyper)


def shapes(product: Product) -> tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]:
    """Of the two operands and of the result."""
    e, rows, inner, columns = product
    return (e, rows, inner), (e, inner, columns), (e, rows, columns)
