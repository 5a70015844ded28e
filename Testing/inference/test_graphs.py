"""OpenVINO's graph of a network for processors without AVX-512: the same function, operations that are fast there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from casr_net.evaluation.metrics import dice
from casr_net.files.masks import read_mask
from casr_net.inference.runtimes import graphs, machine
from casr_net.inference.runtimes.engines import OpenVINOEngine, as_onnx
from casr_net.network.casrnet import CASRNet
from casr_net.network.rewrite import rewritten
from casr_net.synthetic.angiogram import make_angiogram

openvino = pytest.importorskip("openvino", reason="the packages of runtime 'openvino' are not installed")

AVX2, VNNI, AVX512 = "fma avx2", "fma avx2 avx_vnni", "fma avx2 avx512f avx512bw avx512_vnni"


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend to have the instruction sets of a text."""

    def pretend(flags: str) -> None:
        monkeypatch.delenv(machine.LIMIT, raising=False)
        monkeypatch.setattr(machine, "_cpuinfo", lambda: {"flags": flags})
        monkeypatch.setattr(graphs.platform, "machine", lambda: "x86_64")

    return pretend


def kinds(model: Any) -> Counter[str]:
    """Numbers of the operations of each kind, without what nothing takes."""
    return Counter(node.get_type_name() for node in model.get_ordered_ops())


@pytest.mark.parametrize(("flags", "tanh"), [(AVX2, False), (VNNI, False), (AVX512, True)])
def test_tanh_has_another_form_without_avx512(processor: Any, flags: str, tanh: bool) -> None:
    torch.manual_seed(1)
    network = CASRNet("efficientnet_lite0", decoder_channels=(16, 8, 8, 8, 8)).eval()
    processor(flags)
    engine = OpenVINOEngine(as_onnx(rewritten(network), 3))
    assert (kinds(engine._model)["Tanh"] > 0) == tanh
    inputs = torch.rand(1, 3, 64, 96) * 2 - 1
    with torch.inference_mode():
        expected = network(inputs)
    assert expected.std() > 0.01
    assert (engine(inputs) - expected).abs().max() < 1e-5


def transposed(numbers: np.ndarray, scale: np.ndarray, strides: tuple[int, int] = (2, 2)) -> Any:
    """A transposed convolution whose weights are in 8 bits, as NNCF leaves them."""
    from openvino import opset13 as ops

    inputs = ops.parameter([-1, numbers.shape[0], -1, -1], np.float32)
    weights = ops.multiply(ops.convert(ops.constant(numbers), "f32"), ops.constant(scale))
    found = ops.convolution_backprop_data(inputs, weights, list(strides), pads_begin=[1, 1], pads_end=[1, 1])
    return openvino.Model([found], [inputs])


def result(model: Any, array: np.ndarray) -> np.ndarray:
    return np.array(openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(array)[0])


@pytest.mark.parametrize("scale", [(1, 1, 1, 1), (1, 5, 1, 1)])
@pytest.mark.parametrize(("flags", "replaced"), [(AVX2, True), (VNNI, False), (AVX512, False)])
def test_transposed_convolutions_in_8_bits(processor: Any, flags: str, replaced: bool, scale: tuple[int, ...]) -> None:
    generator = np.random.default_rng(3)
    numbers = (2 * generator.integers(-64, 64, (7, 5, 4, 4))).astype(np.int8)  # halves are whole: 7 bits lose nothing
    model = transposed(numbers, generator.uniform(0.5, 1, scale).astype(np.float32))
    array = generator.normal(size=(2, 7, 6, 9)).astype(np.float32)
    expected = result(model, array)
    processor(flags)
    changed = graphs.suited(model)
    assert (kinds(changed)["ConvolutionBackpropData"] == 0) == replaced
    found = result(changed, array)
    assert found.shape == expected.shape == (2, 5, 12, 18)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_weights_have_7_bits_where_sums_of_8_overflow(processor: Any) -> None:
    numbers = np.arange(-128, 128, dtype=np.int16).astype(np.int8).reshape(4, 4, 4, 4)
    scale = np.full((1, 4, 1, 1), 0.1, np.float32)
    processor(AVX2)
    model = graphs.suited(transposed(numbers, scale))
    kept = [
        node.get_data() for node in model.get_ordered_ops()
        if node.get_type_name() == "Constant" and node.get_element_type() == openvino.Type.i8
    ]  # fmt: skip
    (found,) = kept
    assert found.min() == -64 and found.max() == 63
    # The largest sum of two products with a number of 8 bits without sign: 16 bits hold it.
    assert 2 * 255 * int(np.abs(found.astype(int)).max()) <= 2**15
    array = np.ones((1, 4, 3, 3), np.float32)
    expected = result(transposed(numbers, scale), array)
    assert np.abs(result(model, array) - expected).max() <= 16 * 0.1 + 1e-3  # 16 products a pixel, 1 off at most


def test_other_transposed_convolutions_are_left(processor: Any) -> None:
    processor(AVX2)
    numbers = np.full((3, 2, 4, 4), 10, np.int8)
    model = graphs.suited(transposed(numbers, np.ones((1, 2, 1, 1), np.float32), strides=(1, 1)))
    assert kinds(model)["ConvolutionBackpropData"] == 1


def test_other_processors_are_left_alone(processor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    processor(AVX2)
    monkeypatch.setattr(graphs.platform, "machine", lambda: "aarch64")
    numbers = np.full((3, 2, 4, 4), 10, np.int8)
    model = graphs.suited(transposed(numbers, np.ones((1, 2, 1, 1), np.float32)))
    assert kinds(model)["ConvolutionBackpropData"] == 1


@pytest.mark.parametrize(
    ("limit", "avx2", "avx512", "vnni", "bfloat16"),
    [
        ("SSE41", False, False, False, False),
        ("AVX2", True, False, False, False),
        ("AVX2_VNNI", True, False, True, False),
        ("AVX512_CORE", True, True, False, False),
        ("AVX512_CORE_VNNI", True, True, True, False),
        ("avx512_core_bf16", True, True, True, True),
        ("ALL", True, True, True, True),
    ],
)
def test_limits_of_onednn_hold(
    processor: Any, monkeypatch: pytest.MonkeyPatch, limit: str, avx2: bool, avx512: bool, vnni: bool, bfloat16: bool
) -> None:
    processor("fma avx2 avx_vnni avx512f avx512bw avx512_vnni avx512_bf16")
    free = machine.processor()
    monkeypatch.setenv(machine.LIMIT, limit)
    found = [
        machine.avx2_supported(),
        machine.avx512_supported(),
        machine.vnni_supported(),
        machine.bfloat16_supported(),
    ]
    assert found == [avx2, avx512, vnni, bfloat16]
    assert machine.processor() != free  # what was measured without the limit is not taken


@pytest.mark.parametrize("flags", [AVX2, AVX512])
def test_without_linux_opencv_is_asked(monkeypatch: pytest.MonkeyPatch, flags: str) -> None:
    monkeypatch.setattr(machine, "_cpuinfo", dict)
    numbers = {11} if flags == AVX2 else {11, 256}
    monkeypatch.setattr(cv2, "checkHardwareSupport", numbers.__contains__)
    assert (machine.avx2_supported(), machine.avx512_supported()) == (True, flags == AVX512)


@pytest.mark.skipif("avx2" not in (machine._flags() or ()), reason="8 bits need AVX2, and Linux tells of it")
def test_shipped_8_bits_on_avx2(tmp_path: Path) -> None:
    """Really computed with oneDNN kept from everything above AVX2: no sum overflows, the masks agree."""
    path = tmp_path / "angio.png"
    cv2.imwrite(str(path), make_angiogram(seed=4).image)
    environment = {name: value for name, value in os.environ.items() if name != "CASR_RUNTIME"}
    environment |= {machine.LIMIT: "AVX2", "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    masks = {}
    for precision in ("fp32", "int8"):
        output = tmp_path / precision
        command = ["segment", str(path), "--quiet", "--runtime", "openvino", "--precision", precision]
        code = "import sys; from casr_net.cli import main; sys.exit(main(sys.argv[1:]))"
        subprocess.run([sys.executable, "-c", code, *command, "--output", str(output)], env=environment, check=True)
        assert json.loads((output / "run.json").read_text())["runs"][0]["runtime"] == f"openvino {precision}"
        masks[precision] = read_mask(output / "angio_mask.png")[..., 0] > 0
    assert masks["fp32"].sum() > 1000
    assert dice(masks["int8"], masks["fp32"]) > 0.98
