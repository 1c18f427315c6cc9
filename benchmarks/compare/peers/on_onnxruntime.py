"""ONNX Runtime: a model of a single node, made in memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from ..card import Cell
from ..measure import Call
from ..operands import Array, Operands
from ..settings import target, threads
from . import Prepare, UnsupportedError

# It chooses its instructions by itself.
VERSION = onnxruntime.__version__ + ("" if target() is None else " (not limited)")
OPSET, IR_VERSION = 18, 10  # what every runtime of recent years reads


def to_numpy(value: Any) -> Array:
    """Convert an output, an array or an `OrtValue`."""
    return np.asarray(value.numpy() if hasattr(value, "numpy") else value)


def _session(cell: Cell, operator: str) -> Any:
    """Load a model that applies `operator` along the axis of `cell`."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(cell.dtype))
    inputs, constants, attributes = ["x"], [], {}
    if operator == "ReduceLogSumExp":
        axes = [cell.axis] if isinstance(cell.axis, int) else list(cell.axis)
        inputs.append("axes")
        constants.append(helper.make_tensor("axes", TensorProto.INT64, [len(axes)], axes))
        attributes["keepdims"] = 0
    elif isinstance(cell.axis, tuple):
        raise UnsupportedError("takes one axis")
    else:
        attributes["axis"] = cell.axis
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, ["out"], **attributes)],
        operator,
        [helper.make_tensor_value_info("x", kind, cell.shape)],
        [helper.make_tensor_value_info("out", kind, None)],
        constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads(), 1
    # Its threads would go on spinning, on the cores of whoever has the next turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 4  # a model refused is an exception: no need to log it as well
    return onnxruntime.InferenceSession(
        onnx.ModelProto.SerializeToString(model), options, ["CPUExecutionProvider"]
    )


def _node(operator: str) -> Prepare:
    def prepare(cell: Cell, operands: Operands) -> Call:
        if cell.dtype == "bfloat16":
            raise UnsupportedError("takes no bfloat16 arrays")
        session = _session(cell, operator)
        if not cell.out:
            return partial(session.run, None, {"x": operands["x"]})
        if cell.strided:
            raise UnsupportedError("has no strides")
        binding = session.io_binding()
        binding.bind_cpu_input("x", operands["x"])
        value = onnxruntime.OrtValue.ortvalue_from_numpy(operands["out"])
        binding.bind_ortvalue_output("out", value)

        def call() -> Any:
            session.run_with_iobinding(binding)
            return value

        return call

    return prepare


TABLE: dict[str, Prepare] = {
    "softmax": _node("Softmax"),
    "log_softmax": _node("LogSoftmax"),
    "logsumexp": _node("ReduceLogSumExp"),
    "logsumexp_partial": _node("ReduceLogSumExp"),
}
