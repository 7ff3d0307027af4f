"""Staging memory: arrays side by side in one piece, so that one copy brings them all to the device."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Shapes = Mapping[str, tuple[tuple[int, ...], torch.dtype]]  # shape and dtype by name


class Staging:
    """A piece of memory on the host, and as many on the device as there are slots.

    On CUDA the host's is pinned; on a CPU it is the slot's own memory and nothing is copied.
    """

    def __init__(self, shapes: Shapes, num_slots: int, device: torch.device) -> None:
        size = sum(_padded_bytes(shape, dtype) for shape, dtype in shapes.values())
        self._device = [torch.zeros(size, dtype=torch.uint8, device=device) for _ in range(num_slots)]
        self._copies = device.type != "cpu"
        self._host = [torch.zeros(size, dtype=torch.uint8).pin_memory()] * num_slots if self._copies else self._device
        self.slots = [_views(flat, shapes) for flat in self._device]  # tensors by name
        self._arrays: list[dict[str, NDArray[Any]]] = [
            {name: view.numpy() for name, view in _views(flat, shapes).items()} for flat in self._host
        ]

    def write(self, slot: int, **values: NDArray[Any] | Sequence[bool]) -> None:
        """Put values into host memory; on CUDA the copy of the values before must be over."""
        for name, value in values.items():
            array = self._arrays[slot][name]
            array[...] = np.asarray(value).reshape(array.shape)

    def copy(self, slot: int) -> None:
        """Enqueue the copy to the device, on the current stream."""
        if self._copies:
            self._device[slot].copy_(self._host[slot], non_blocking=True)


def _views(flat: Tensor, shapes: Shapes) -> dict[str, Tensor]:
    views, offset = {}, 0
    for name, (shape, dtype) in shapes.items():
        size = math.prod(shape) * dtype.itemsize
        views[name] = flat[offset : offset + size].view(dtype).view(shape)
        offset += _padded_bytes(shape, dtype)
    return views


def _padded_bytes(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    """Bytes of an array, up to where the next may begin: compiled code counts on 16-byte alignment."""
    return -(-math.prod(shape) * dtype.itemsize // 16) * 16
