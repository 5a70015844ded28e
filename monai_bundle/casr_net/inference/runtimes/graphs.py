"""OpenVINO's graph of a network, rewritten for x86 processors without AVX-512: the same function up to rounding.

oneDNN, which computes it, looks tanh up in tables there, and has no fast transposed convolution in 8 bits without VNNI
(``experiments/instruction_sets.py``).
"""

from __future__ import annotations

import platform
from typing import Any

import numpy as np

from .machine import avx512_supported, vnni_supported

__all__ = ["suited"]

_ROWS = {0: (2, 0), 1: (3, 1)}
"""By the parity of a row that is shuffled: which rows of the transposed kernel meet the two rows of the input."""


def suited(model: Any) -> Any:
    """The ``openvino.Model``, changed in place where this processor computes another form of it faster.

    - Tanh becomes 2 / (1 + exp(-2 x)) - 1.
    - Without VNNI, transposed convolutions in 8 bits (kernel 4, stride 2, padding 1) become convolutions whose pixels
      are put in order afterwards, and all weights in 8 bits are rounded to 7: sums of two products with 8 overflow
      (NNCF's documentation of ``OverflowFix``).
    """
    if platform.machine().lower() not in ("x86_64", "amd64") or avx512_supported():
        return model
    _replace_tanh(model)
    if not vnni_supported():
        for node in model.get_ordered_ops():
            if node.get_type_name() == "ConvolutionBackpropData":
                _replace_transposed(node)
        for node in model.get_ordered_ops():
            _round_to_7_bits(node)
    model.validate_nodes_and_infer_types()
    return model


def _replace_tanh(model: Any) -> None:
    from openvino import opset13 as ops

    for node in model.get_ordered_ops():
        if node.get_type_name() == "Tanh":
            two = ops.constant(np.float32(2))
            curve = ops.sigmoid(ops.multiply(node.input_value(0), two))
            _put(node, ops.add(ops.multiply(curve, two), ops.constant(np.float32(-1))))


def _weights(node: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Weights in 8 bits and their scale, of a product that gives them in single precision."""
    if node.get_type_name() != "Multiply":
        return None
    convert, scale = (value.get_node() for value in node.input_values())
    if convert.get_type_name() != "Convert" or scale.get_type_name() != "Constant":
        return None
    numbers = convert.input_value(0).get_node()
    if numbers.get_type_name() != "Constant" or numbers.get_element_type().get_type_name() != "i8":
        return None
    return np.array(numbers.get_data()), np.array(scale.get_data(), np.float32)


def _product(numbers: np.ndarray, scale: np.ndarray) -> Any:
    from openvino import opset13 as ops

    return ops.multiply(ops.convert(ops.constant(np.ascontiguousarray(numbers)), "f32"), ops.constant(scale))


def _replace_transposed(node: Any) -> None:
    from openvino import opset13 as ops

    found = _weights(node.input_value(1).get_node())
    settings = node.get_attributes()
    if found is None or found[0].shape[2:] != (4, 4) or len(node.input_values()) != 2:
        return
    if [list(settings[name]) for name in ("strides", "pads_begin", "pads_end", "dilations", "output_padding")] != [
        [2, 2], [1, 1], [1, 1], [1, 1], [0, 0]
    ]:  # fmt: skip
        return
    numbers, scale = found
    inputs, outputs = numbers.shape[:2]
    if scale.size not in (1, outputs):
        return
    kernel = np.empty((2, 2, outputs, inputs, 2, 2), numbers.dtype)
    for parity, rows in _ROWS.items():
        for other, columns in _ROWS.items():
            kernel[parity, other] = numbers[:, :, rows][:, :, :, columns].transpose(1, 0, 2, 3)
    scales = np.tile(np.broadcast_to(scale.reshape(-1), outputs), 4).reshape(-1, 1, 1, 1)
    weights = _product(kernel.reshape(-1, inputs, 2, 2), scales)
    found = ops.convolution(node.input_value(0), weights, [1, 1], [1, 1], [1, 1], [1, 1])
    shuffled = ops.depth_to_space(found, "blocks_first", 2)
    ends = (np.array(values, np.int64) for values in ([1, 1], [-1, -1], [1, 1], [2, 3]))
    _put(node, ops.slice(shuffled, *(ops.constant(values) for values in ends)))


def _round_to_7_bits(node: Any) -> None:
    found = _weights(node)
    if found is not None:
        numbers, scale = found
        _put(node, _product(np.clip(np.rint(numbers / 2), -64, 63).astype(np.int8), 2 * scale))


def _put(old: Any, new: Any) -> None:
    """Let those that took a node's result take another's."""
    for target in list(old.output(0).get_target_inputs()):
        target.replace_source_output(new.output(0))
