"""ONNX files whose networks always give the same outputs, of any size on the disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_OPSET, _IR_VERSION = 17, 9
_DOC_STRING = b"\x32"  # the key of this field of a ModelProto


def write_network(
    file: Path,
    source: tuple[str, tuple[int, ...]],
    results: Mapping[str, NDArray[np.float32]],
    size: int | None = None,
) -> None:
    """source: name and shape of the input. size: bytes of the file, which ends in a hole."""
    name, shape = source
    nodes = [
        helper.make_node("ReduceMean", [name], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    constants = [numpy_helper.from_array(np.zeros((), np.float32), "zero")]
    for result, values in results.items():
        constants.append(numpy_helper.from_array(values, f"{result}_values"))
        nodes.append(helper.make_node("Add", [f"{result}_values", "nothing"], [result]))
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(result, TensorProto.FLOAT, values.shape)
            for result, values in results.items()
        ],
        constants,
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    with file.open("wb") as opened:
        opened.write(content)
        if size is not None:
            hole = size - len(content) - len(_DOC_STRING) - 4
            opened.write(_DOC_STRING + _varint(hole))
            opened.truncate(size)


def _varint(number: int) -> bytes:
    """Four bytes, for 2**21 to 2**28 - 1."""
    assert 1 << 21 <= number < 1 << 28
    parts = [number >> shift & 0x7F for shift in (0, 7, 14, 21)]
    return bytes([part | 0x80 for part in parts[:3]] + parts[3:])
