"""Counter-based random numbers: Philox-4x32-10 in torch integer operations (Salmon et al. 2011, SC11).

Numbers are a pure function of (seed, purpose, counter), so eager, compiled and captured runs, CPU and GPU, one member
or many, and a resumed run all draw the same ones.  Everything here works on one member, whose seed is int64 [], as the
counter is, for example the gradient step; `torch.func.vmap` adds the member axis.

Several processes that draw an array together, each its `Rows`, draw what one would.

Axes: B rows here, W rows of all processes, A columns.
"""

import math
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53 - 2**32, 0xCD9E8D57 - 2**32)
_WEYL = (0x9E3779B9, 0xBB67AE85)


class Purpose(IntEnum):
    """What a stream of numbers is for: the second half of Philox's key."""

    INIT = 0
    DRAW = 1
    UPDATE = 2
    ACT = 3
    ENV_SEED = 4
    EVAL_SEED = 5
    HOLD = 6


class Rows(NamedTuple):
    """Which rows of an array [..., W, A] are drawn here, B of them; other processes draw the others."""

    first: Tensor  # int64 []; no constant, so that all processes compile the same code
    num_all: int  # W

    @classmethod
    def of(cls, first: int, num: int, num_all: int, device: torch.device) -> "Rows | None":
        """Those from `first` on; None for all."""
        return None if num == num_all else cls(torch.tensor(first, device=device), num_all)

    def places(self, shape: tuple[int, ...]) -> Tensor:
        """Where in the whole array the numbers of these rows [..., B, A] stand, one after the other."""
        num, width = shape[-2:]
        place = torch.arange(math.prod(shape), device=self.first.device)
        return place + (place // (num * width) * (self.num_all - num) + self.first) * width


def philox(counter: tuple[Tensor, ...], key: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox-4x32-10 (section 4.3) on 32-bit words in int64: a counter of four tensors of one shape, a key of two."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # High and low half of c * m for 32-bit words c and m.  c * m may overflow int64, which C++ leaves undefined;
        # c * (m - 2^32) cannot, has the same low half, and its high half lacks c.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = ((p1 >> 32) + c2) ^ c1 ^ k0, p1 & _MASK, ((p0 >> 32) + c0) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def _blocks(seed: Tensor, purpose: int, counter: Tensor, block: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Blocks of four words: Philox at (counter low, block, counter high, 0) under the key (seed, purpose).

    The block is not in a place that Philox multiplies first: Triton would take `constant * block` for an index, and
    such a constant is out of range for one.
    """
    zero = torch.zeros_like(block)
    low, high = counter & _MASK, (counter >> 32) & _MASK
    return philox((low, block, high, zero), (seed & _MASK, torch.full_like(seed, int(purpose))))


def _places(seed: Tensor, shape: tuple[int, ...], rows: Rows | None) -> Tensor:
    return torch.arange(math.prod(shape), device=seed.device) if rows is None else rows.places(shape)


def words(seed: Tensor, purpose: int, counter: Tensor, num: int, rows: Rows | None = None) -> Tensor:
    """`num` uniform 32-bit words as int64 [num], one of each block; a smaller `num` gives a prefix of them."""
    return _blocks(seed, purpose, counter, _places(seed, (num, 1), rows))[0]


def index(word: Tensor, size: Tensor | int) -> Tensor:
    """Uniform integers in [0, size) from 32-bit words, by multiplication; exact for any size below 2^31."""
    return (word * size) >> 32


def uniform(seed: Tensor, purpose: int, counter: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Uniform float32 in [0, 1), with 24 random bits, of the given shape."""
    return (words(seed, purpose, counter, math.prod(shape)) >> 8).float().mul(2.0**-24).view(shape)


def normal(seed: Tensor, purpose: int, counter: Tensor, shape: tuple[int, ...], rows: Rows | None = None) -> Tensor:
    """Standard normal float32 of the given shape, by Box and Muller (1958); |value| is below 6.7.

    Each number has a block of its own and leaves half of it unused: one kernel without neighbours or concatenation.
    """
    w0, w1, _, _ = _blocks(seed, purpose, counter, _places(seed, shape, rows))
    # The argument of log is in (0, 1]; a GPU's log may still come out a little above 0.
    radius = torch.sqrt((-2 * torch.log((w0.float() + 1) * 2.0**-32)).clamp(min=0))
    return (radius * torch.cos(w1.float() * (2 * math.pi * 2.0**-32))).view(shape)


def derive_seeds(seed: int, purpose: int, num: int, counter: int = 0, first: int = 0) -> list[int]:
    """`num` seeds in [0, 2^31), from the `first` on, for the parts of one member, unrelated to those of others."""
    return (words(torch.tensor(seed), purpose, torch.tensor(counter), first + num)[first:] >> 1).tolist()
