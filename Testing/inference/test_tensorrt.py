"""TensorRT, as far as it goes without a GPU: who may ask for it, what is compiled, what is kept, and the choice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from casr_net.cli import main
from casr_net.errors import UsageError
from casr_net.inference.bundle import build, load_parser
from casr_net.inference.predict import FrameInferer
from casr_net.inference.runtimes import compiled, gpu, packages, tensorrt
from casr_net.inference.runtimes.store import Store
from casr_net.network.casrnet import CASRNet
from casr_net.network.rewrite import rewritten

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> CASRNet:
    torch.manual_seed(5)
    return CASRNet("efficientnet_lite0", decoder_channels=(8, 8, 8, 8, 8)).eval()


@pytest.fixture(scope="module")
def channels() -> Any:
    return build(load_parser(network_size=96), "channels")


class Compiled:
    """Stands in for an engine: torch computes."""

    made: ClassVar[list[tuple[str, bytes]]] = []
    change: ClassVar[dict[str, Callable[[torch.Tensor], torch.Tensor]]] = {}

    def __init__(
        self, network: torch.nn.Module, device: torch.device, kind: str, channels: int, side: int, plan: bytes = b""
    ) -> None:
        self.name, self.plan, self._kind, self._network = f"tensorrt {kind}", plan or b"plan", kind, network
        self.made.append((kind, plan))

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.change.get(self._kind, lambda logits: logits)(self._network(inputs))

    def takes(self, shape: torch.Size) -> bool:
        return True


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> type[Compiled]:
    monkeypatch.setattr(Compiled, "made", [])
    monkeypatch.setattr(Compiled, "change", {})
    monkeypatch.setattr(compiled, "TensorRTEngine", Compiled)
    monkeypatch.setattr(compiled, "described", lambda device, kind, side: {"format": kind, "side": side})
    return Compiled


def test_it_is_never_offered_on_a_cpu(
    network: CASRNet, png: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packages, "_missing", lambda runtime: [])
    assert packages.installed_runtimes() == ["torch", "onnx", "openvino"]
    assert packages.installed_runtimes(gpu=True) == ["torch", "tensorrt"]
    with pytest.raises(UsageError, match="runtime 'tensorrt' is for NVIDIA's GPUs, and there is none"):
        FrameInferer(runtime="tensorrt")
    assert main(["segment", str(png), "--runtime", "tensorrt", "-d", "cpu", "-o", str(png.parent)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    inferer = FrameInferer(runtime="tensorrt")
    with pytest.raises(UsageError, match="runtime 'tensorrt' is for NVIDIA's GPUs, not for the CPU"):
        inferer(torch.rand(1, 3, 64, 64), network)
    inferer._gpu.used = "tensorrt fp16"  # whose memory ended
    inferer(torch.rand(1, 3, 64, 64), network)


def test_missing_packages_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(packages.sys.modules, "tensorrt", None)
    with pytest.raises(
        UsageError, match=r"runtime 'tensorrt': .*tensorrt not installed; pip install 'casr-net\[tensorrt\]'"
    ):
        FrameInferer(runtime="tensorrt")


@pytest.mark.parametrize(
    ("variable", "on_cpu", "on_gpu"),
    [("openvino", "openvino", "auto"), ("tensorrt", "auto", "tensorrt"), ("torch", "torch", "torch"), ("x", "x", "x")],
)
def test_the_variable_counts_where_it_can(
    variable: str, on_cpu: str, on_gpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(packages.VARIABLE, variable)
    assert packages.wanted_runtime("auto") == on_cpu and packages.wanted_runtime("auto", gpu=True) == on_gpu
    assert packages.wanted_runtime("onnx") == "onnx"


@pytest.mark.filterwarnings("ignore")  # of torch's exporter
def test_what_monai_gives_to_tensorrt_is_the_network(
    network: CASRNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MONAI's compiler, until it hands its ONNX file to TensorRT: frames, rows and columns are open."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from monai.networks.trt_compiler import TrtCompiler

    models: list[bytes] = []
    monkeypatch.setattr(TrtCompiler, "_onnx_to_trt", lambda self, path: models.append(Path(path).read_bytes()) or b"p")
    fast = rewritten(network, narrow=False)
    compiler = TrtCompiler(fast, str(tmp_path / "network.plan"), **tensorrt.compiling("fp16", "x", 3, 512))
    compiler._build_and_save(fast, {"x": torch.zeros(1, 3, *tensorrt.TRACED)})
    assert (tmp_path / "network.plan").read_bytes() == b"p"
    session = onnxruntime.InferenceSession(models[0], providers=["CPUExecutionProvider"])
    for shape in ((1, 3, 64, 64), (3, 3, 96, 128)):
        inputs = torch.rand(shape) * 2 - 1
        with torch.no_grad():
            expected = network(inputs).numpy()
        assert np.abs(session.run(None, {"x": inputs.numpy()})[0] - expected).max() < 1e-4


def test_a_plan_is_of_one_kind_of_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device, store, places = torch.device("cuda:0"), Store(tmp_path), set()
    for name, capability, version in (("A", (9, 0), "1"), ("B", (9, 0), "1"), ("A", (8, 0), "1"), ("A", (9, 0), "2")):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, capability=capability: capability)
        monkeypatch.setattr(tensorrt, "runtime_versions", lambda names, version=version: {"tensorrt": version})
        for kind, side in (("fp16", 512), ("fp32", 512), ("fp16", 480)):
            places.add(store.path("tensorrt", tensorrt.described(device, kind, side)))
    assert len(places) == 12


def test_compiled_once_and_kept(network: CASRNet, channels: Any, tmp_path: Path, stand_in: type[Compiled]) -> None:
    store = Store(tmp_path)
    for plan in (b"", b"plan"):
        engine = compiled.CompiledNetwork(network, CPU, "auto", store, channels).engine()
        assert engine.name == "tensorrt fp16" and stand_in.made.pop() == ("fp16", plan)
    with torch.no_grad():
        network.head.bias.add_(0.001)
    compiled.CompiledNetwork(network, CPU, "auto", store, channels).engine()
    assert stand_in.made.pop() == ("fp16", b"")


def test_wrong_masks_are_refused(
    network: CASRNet, channels: Any, tmp_path: Path, stand_in: type[Compiled], caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.change["fp16"] = lambda logits: logits * float("nan")
    made = compiled.CompiledNetwork(network, CPU, "auto", Store(tmp_path), channels)
    assert made.engine().name == "tensorrt fp32"  # auto: the next number format
    stand_in.change["fp32"] = lambda logits: -logits
    with pytest.raises(
        UsageError, match=r"runtime 'tensorrt' is refused: its mask of the shipped sample has Dice 0\.0"
    ):
        made.engine()
    stand_in.made.clear()
    assert made.if_faster(lambda inputs, network: network(inputs)) is None
    assert "runtime 'tensorrt' is not used: its mask" in caplog.text and len(stand_in.made) == 2
    assert made.if_faster(lambda inputs, network: network(inputs)) is None  # is kept, since to compile takes minutes
    assert len(stand_in.made) == 2
    nothing = compiled.CompiledNetwork(network, CPU, "auto", Store(tmp_path), None)
    with pytest.raises(UsageError, match="there is no preprocessing for the sample"):
        nothing.engine()


@pytest.mark.parametrize("slow", [True, False])
def test_auto_takes_it_where_it_is_faster(
    slow: bool, network: CASRNet, channels: Any, tmp_path: Path, stand_in: type[Compiled],
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO)
    times = {"torch": 20.0, "tensorrt": 30.0 if slow else 10.0}
    monkeypatch.setattr(compiled, "measure", lambda engines, batch: {name: times[name] for name in engines})
    for kept in (False, True):
        made = compiled.CompiledNetwork(network, CPU, "fp32", Store(tmp_path), channels)
        engine = made.if_faster(lambda inputs, network: network(inputs))
        assert (engine is None) == slow
        assert stand_in.made == ([("fp32", b"")] if not kept else [] if slow else [("fp32", b"plan")])
        stand_in.made.clear()
        monkeypatch.setattr(compiled, "measure", lambda *_: pytest.fail("it was measured before"))
    assert (
        f"runtime: {'torch' if slow else 'tensorrt fp32'}, measured on this GPU (ms for 8 frames: torch 20"
        in caplog.text
    )


def test_what_overflows_is_computed_by_torch(
    network: CASRNet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine, inputs = gpu.GpuEngine("fp32"), torch.rand(1, 3, 64, 64)
    made = Compiled(network, CPU, "fp16", 3, 64)
    monkeypatch.setattr(engine, "_by_tensorrt", lambda network, device: engine._compiled.get(device))
    monkeypatch.setitem(engine._compiled, CPU, made)
    with torch.no_grad():
        assert torch.equal(engine(inputs, network), network(inputs)) and engine.used == "tensorrt fp16"
        monkeypatch.setattr(Compiled, "change", {"fp16": lambda logits: logits / 0})
        assert torch.equal(engine(inputs, network), network(inputs)) and engine.used == "torch fp32"
    assert engine._compiled[CPU] is None
    assert caplog.text.count("the network overflows in tensorrt fp16; torch takes over") == 1
