"""The formats of files: how a program becomes bytes, and how those are run.

Axes: B batch.
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from fastsac.deploy.program import ACTIONS, input_names, quiet
from fastsac.runtime.versions import is_installed

Array = NDArray[Any]
Metadata = Mapping[str, str]
Call = Callable[..., Array]
"""Actions [B, ...] of obs and, where the program takes it, noise."""

OPSET = 20  # the newest that torch's exporter writes in all versions of our range; read by onnxruntime from 1.17 on
METADATA_FILE = "metadata.json"


@dataclass(frozen=True)
class Format:
    """How files of one suffix are written and read."""

    needs: tuple[str, ...]  # packages of the extra `export`
    write: Callable[[ExportedProgram, Metadata], bytes]
    load: Callable[[bytes], Call]


def check_installed(name: str) -> None:
    """Raise a ValueError where a package is missing that a format needs."""
    missing = [package for package in FORMATS[name].needs if not is_installed(package)]
    if missing:
        others = " or ".join(other for other, it in FORMATS.items() if all(map(is_installed, it.needs)))
        raise ValueError(
            f'{" and ".join(missing)} must be installed for format {name}. Run pip install "fastsac[export]", or take '
            f"format {others}."
        )


def write_onnx(program: ExportedProgram, metadata: Metadata) -> bytes:
    """An ONNX file, with the metadata in its metadata_props."""
    names = input_names(stochastic=len(program.graph_signature.user_inputs) > 1)
    with quiet():
        exported = torch.onnx.export(
            program,
            dynamo=True,
            input_names=names,
            output_names=[ACTIONS],
            dynamic_shapes=({0: "batch"},) * len(names),
            opset_version=OPSET,
            verbose=False,
        )
    assert exported is not None
    model = exported.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # the lines of Python that it comes from
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    content: bytes = model.SerializeToString()
    return content


def load_onnx(content: bytes) -> Call:
    """By onnxruntime, on one core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def call(*inputs: Array) -> Array:
        actions: Array = session.run(None, dict(zip(names, inputs, strict=True)))[0]
        return actions

    return call


def write_pt2(program: ExportedProgram, metadata: Metadata) -> bytes:
    """A file of torch.export, with the metadata as JSON in its extra file METADATA_FILE."""
    file = io.BytesIO()
    with quiet():
        torch.export.save(program, file, extra_files={METADATA_FILE: json.dumps(dict(metadata))})
    return file.getvalue()


def load_pt2(content: bytes) -> Call:
    """By torch."""
    with quiet():
        module = torch.export.load(io.BytesIO(content)).module()

    @torch.no_grad()
    def call(*inputs: Array) -> Array:
        actions: Array = module(*map(torch.from_numpy, inputs)).numpy()
        return actions

    return call


FORMATS = {
    "onnx": Format(("onnx", "onnxruntime", "onnxscript"), write_onnx, load_onnx),
    "pt2": Format((), write_pt2, load_pt2),
}
