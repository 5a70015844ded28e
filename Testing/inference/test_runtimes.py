"""Runtimes give torch's result, are chosen by what is measured, and are refused when they are wrong or missing."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from makers.alone import start_alone

from casr_net.cli import main
from casr_net.errors import UsageError
from casr_net.inference.bundle import load_parser
from casr_net.inference.predict import FrameInferer
from casr_net.inference.runtimes import choice, packages, prepared
from casr_net.inference.runtimes.engines import TorchEngine
from casr_net.inference.runtimes.prepared import Runtimes
from casr_net.network.casrnet import CASRNet

OTHERS = ("onnx", "openvino")
SIZE = 96


def needs(runtime: str) -> None:
    if runtime not in packages.installed_runtimes():
        pytest.skip(f"the packages of runtime {runtime!r} are not installed")


@pytest.fixture
def network() -> CASRNet:
    torch.manual_seed(5)
    return CASRNet("efficientnet_lite0", decoder_channels=(8, 8, 8, 8, 8)).eval()


@pytest.fixture(scope="module")
def channels() -> Any:
    return load_parser(network_size=SIZE).get_parsed_content("channels")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Only its folder matters."""
    path = tmp_path / "models" / "model.pt"
    path.parent.mkdir()
    path.touch()
    return path


class Fake:
    """An engine that answers as the network does, after a while, or changed."""

    def __init__(self, network: torch.nn.Module, name: str, seconds: float = 0.0, change: Any = None) -> None:
        self.name, self._inner, self._seconds, self._change = name, TorchEngine(network), seconds, change

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        time.sleep(self._seconds)
        logits = self._inner(inputs)
        return logits if self._change is None else self._change(logits)


def stand_in(monkeypatch: pytest.MonkeyPatch, network: torch.nn.Module, **fakes: dict[str, Any]) -> None:
    """All runtimes are installed, and are fakes with these arguments."""
    monkeypatch.delenv("CASR_RUNTIME")
    monkeypatch.setattr(prepared, "installed_runtimes", lambda: ["torch", *OTHERS])
    monkeypatch.setattr(packages, "require_runtime", lambda name: None)
    monkeypatch.setattr(prepared, "runtime_versions", lambda names: dict.fromkeys(names, "1"))
    monkeypatch.setattr(prepared, "version", lambda name: "1")
    monkeypatch.setattr(prepared, "as_onnx", lambda network, channels: b"model")
    for name, kind in (("onnx", "OnnxEngine"), ("openvino", "OpenVINOEngine")):
        options = fakes.get(name, {})
        made = lambda *_, name=name, options=options: Fake(network, f"{name} fp32", **options)  # noqa: E731
        monkeypatch.setattr(prepared, kind, made)


@pytest.mark.parametrize("runtime", OTHERS)
def test_result_is_that_of_torch(runtime: str, network: CASRNet, channels: Any, weights: Path) -> None:
    needs(runtime)
    engine = Runtimes(runtime, weights, channels, "fp32").engine(network)
    assert engine is not None and engine.name == f"{runtime} fp32"
    for shape in ((1, 3, 96, 96), (2, 3, 64, 128), (1, 3, 96, 96)):
        inputs = torch.rand(shape) * 2 - 1
        with torch.no_grad():
            expected = network(inputs)
        found = engine(inputs)
        assert found.dtype == torch.float32 and found.shape == expected.shape
        assert (found - expected).abs().max() < 1e-4


def test_torch_in_single_precision_is_torch(network: CASRNet, channels: Any, weights: Path) -> None:
    engine = Runtimes("torch", weights, channels, "fp32").engine(network)
    assert engine is not None
    inputs = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.allclose(engine(inputs), network(inputs), atol=1e-5)
    engine(inputs).add_(1)  # an ordinary tensor, which may be changed
    assert list(weights.parent.iterdir()) == [weights]


def test_bfloat16_is_close_or_refused(
    network: CASRNet, channels: Any, weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where it is allowed and not asked for, single precision stands in. The network is random: its mask may hang on
    the last digits."""
    monkeypatch.setattr(prepared, "uses_bfloat16", lambda precision: True)
    runtimes = Runtimes("torch", weights, channels, "auto")
    assert runtimes.engine(network) is not None
    refused = "runtime 'torch' in bfloat16 is refused: its mask of the shipped sample has Dice" in caplog.text
    assert runtimes.used == ("torch fp32" if refused else "torch bf16")


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_without_the_sample_torch_in_single_precision_stays(
    network: CASRNet, channels: Any, weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    caplog: pytest.LogCaptureFixture, content: bytes | None,
) -> None:  # fmt: skip
    """Nothing can be tried, so that nothing but the reference is used; no frame is lost for it."""
    stand_in(monkeypatch, network)
    monkeypatch.setattr(prepared, "uses_bfloat16", lambda precision: True)
    monkeypatch.setattr("casr_net.inference.runtimes.trial.bundle_root", lambda: tmp_path)
    if content is not None:
        sample = tmp_path / "sample" / "images" / "angiogram.png"
        sample.parent.mkdir(parents=True)
        sample.write_bytes(content)
    runtimes = Runtimes("auto", weights, channels, "auto")
    engine = runtimes.engine(network)
    assert engine is not None and runtimes.used == "torch fp32"
    inputs = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.allclose(engine(inputs), network(inputs), atol=1e-5)
    assert "the sample on which it is tried is missing or damaged" in caplog.text


@pytest.mark.parametrize("runtime", OTHERS)
def test_missing_packages_name_the_extra(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in packages.RUNTIMES[runtime]:
        monkeypatch.setitem(packages.sys.modules, name, None)
    assert runtime not in packages.installed_runtimes()
    with pytest.raises(
        UsageError, match=rf"runtime '{runtime}': .* not installed; pip install 'casr-net\[{runtime}\]'"
    ):
        FrameInferer(runtime=runtime)
    with pytest.raises(UsageError, match=rf"casr-net\[{runtime}\]"):
        packages.runtime_package(runtime, packages.RUNTIMES[runtime][-1])


def test_nobody_is_told_that_a_runtime_is_used(tmp_path: Path) -> None:
    """Left alone, OpenVINO tells Google Analytics, and keeps an identifier in the user's home."""
    needs("openvino")
    code = (
        "import sys; from casr_net.inference.runtimes.packages import runtime_package;"
        "runtime_package('openvino', 'openvino').Core(); print(sys.modules['openvino_telemetry'])"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None" and not (tmp_path / "intel").exists()


def test_command_refuses_what_cannot_compute_before_it_loads(png: Path, tmp_path: Path) -> None:
    words = ["segment", str(png), "-o", str(tmp_path / "out"), "-d", "cpu", "--runtime", "onnx", "--precision", "int8"]
    out, errors = start_alone(words).communicate(timeout=60)
    assert json.loads(out) == [2, []] and not (tmp_path / "out").exists()
    assert errors == "casr: precision 'int8': runtime 'onnx' has none; use runtime openvino.\n"


def test_unknown_runtimes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="runtime is 'tensorflow'; known are auto, torch, onnx, openvino"):
        Runtimes("tensorflow")
    with pytest.raises(UsageError, match="runtime is 'fast'; expected one of auto, torch, onnx, openvino"):
        load_parser(runtime="fast")
    monkeypatch.setenv("CASR_RUNTIME", "nothing")
    with pytest.raises(UsageError, match="runtime is 'nothing'"):
        Runtimes("auto")


def test_torch_alone_measures_and_writes_nothing(
    network: CASRNet, channels: Any, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CASR_RUNTIME")
    monkeypatch.setattr(prepared, "installed_runtimes", lambda: ["torch"])
    monkeypatch.setattr(prepared, "measure", lambda *_: pytest.fail("nothing is to be compared"))
    engine = Runtimes("auto", weights, channels, "fp32").engine(network)
    assert engine is not None and engine.name == "torch fp32"
    assert list(weights.parent.iterdir()) == [weights]


def test_the_fastest_is_taken_and_remembered(
    network: CASRNet, channels: Any, weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in(monkeypatch, network, openvino={"seconds": 0.5})
    monkeypatch.setattr(choice, "GAIN", 10.0)  # torch has no advantage
    monkeypatch.setattr(prepared, "TorchEngine", lambda network, bfloat16=False: Fake(network, "torch fp32", 0.3))
    caplog.set_level(logging.INFO)
    runtimes = Runtimes("auto", weights, channels, "fp32")
    engine = runtimes.engine(network)
    assert engine is not None and engine.name == "onnx fp32" == runtimes.used
    (said,) = [record.getMessage() for record in caplog.records if "measured on this machine" in record.getMessage()]
    assert "runtime: onnx fp32" in said and "torch fp32 " in said and str(weights.parent / ".runtimes") in said
    monkeypatch.setattr(prepared, "measure", lambda *_: pytest.fail("it was measured before"))
    again = Runtimes("auto", weights, channels, "fp32").engine(network)
    assert again is not None and again.name == "onnx fp32"
    other = {"processor": "another", "threads": 1}
    monkeypatch.setattr(prepared, "machine", lambda: other)
    with pytest.raises(pytest.fail.Exception, match="measured before"):
        Runtimes("auto", weights, channels, "fp32").engine(network)


def test_torch_stays_where_others_gain_little() -> None:
    assert choice.fastest({"torch": 100, "onnx": 95}) == "torch"
    assert choice.fastest({"torch": 100, "onnx": 95, "openvino": 60}) == "openvino"
    assert choice.fastest({"torch": 100, "onnx": 80, "openvino": 90}) == "onnx"


def broken(logits: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("no such\ninstruction")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda logits: logits * float("nan"), "it gives values that are not finite"),
        (lambda logits: -logits, r"its mask of the shipped sample has Dice 0.000 with torch's; 0.98 is needed"),
        (broken, r"it fails on the shipped sample \(no such instruction\)"),
    ],
)
def test_wrong_runtimes_are_refused(
    change: Callable[[torch.Tensor], torch.Tensor], text: str, network: CASRNet, channels: Any, weights: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    stand_in(monkeypatch, network, openvino={"change": change}, onnx={"change": change})
    with pytest.raises(UsageError, match=f"runtime 'openvino' is refused: {text}"):
        Runtimes("openvino", weights, channels, "fp32").engine(network)
    engine = Runtimes("auto", weights, channels, "fp32").engine(network)
    assert engine is not None and engine.name == "torch fp32"
    assert sum("is not used: " in record.getMessage() for record in caplog.records) == 2


def test_a_choice_that_fails_later_falls_back(
    network: CASRNet, channels: Any, weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as a library that was damaged after it was measured."""
    stand_in(monkeypatch, network)
    monkeypatch.setattr(prepared, "fastest", lambda times: "openvino")
    Runtimes("auto", weights, channels, "fp32").engine(network)
    monkeypatch.setattr(prepared, "OpenVINOEngine", lambda *_: Fake(network, "openvino fp32", change=broken))
    engine = Runtimes("auto", weights, channels, "fp32").engine(network)
    assert engine is not None and engine.name == "torch fp32"
    assert "runtime 'openvino' is refused" in caplog.text and "torch in single precision is used" in caplog.text


def test_networks_that_cannot_be_converted_are_refused(
    network: CASRNet, channels: Any, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, network)

    def fails(*_: Any) -> bytes:
        raise ValueError("operator is unknown")

    monkeypatch.setattr(prepared, "as_onnx", fails)
    with pytest.raises(UsageError, match=r"'onnx' is refused: the network cannot be converted \(operator is unknown\)"):
        Runtimes("onnx", weights, channels, "fp32").engine(network)


def test_changed_weights_get_a_new_engine(network: CASRNet, channels: Any, weights: Path) -> None:
    needs("onnx")
    runtimes = Runtimes("onnx", weights, channels, "fp32")
    first = runtimes.engine(network)
    assert runtimes.engine(network) is first
    with torch.no_grad():
        network.head.bias.add_(1)
    second = runtimes.engine(network)
    assert first is not None and second is not None and second is not first
    inputs = torch.rand(1, 3, 64, 64)
    assert torch.allclose(second(inputs), first(inputs) + 1, atol=1e-4)


def test_networks_in_training_or_watched_run_as_they_are(network: CASRNet, channels: Any, weights: Path) -> None:
    runtimes = Runtimes("torch", weights, channels, "fp32")
    hook = network.encoder.register_forward_hook(lambda *_: None)
    assert runtimes.engine(network) is None
    hook.remove()
    assert runtimes.engine(network) is not None
    network.decoder[0].layers[-1].train()
    assert runtimes.engine(network) is None


def test_runtimes_of_the_cpu_refuse_a_gpu(network: CASRNet, channels: Any, weights: Path) -> None:
    needs("onnx")
    inferer = FrameInferer(runtime="onnx", weights=weights, channels=channels)
    with pytest.raises(UsageError, match="runtime 'onnx' runs on the CPU, not on meta; use device cpu"):
        inferer(torch.empty(1, 3, 64, 64, device="meta"), network.to("meta"))


@pytest.mark.parametrize("runtime", OTHERS)
def test_command_line_and_overlay(
    runtime: str, png: Path, small_config: Path, random_weights: Path, tmp_path: Path
) -> None:
    needs(runtime)
    masks = []
    common = ["segment", str(png), "--weights", str(random_weights), "--config", str(small_config), "--quiet"]
    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps({"precision": "fp32"}))
    for number, options in enumerate(
        (["--runtime", "torch"], ["--runtime", runtime], ["--config", f"inference_{runtime}"])
    ):
        output = tmp_path / str(number)
        assert main([*common, *options, "--config", str(plain), "--output", str(output)]) == 0
        masks.append(cv2.imread(str(output / "angio_mask.png"), cv2.IMREAD_UNCHANGED))
        run = json.loads((output / "run.json").read_text())["runs"][0]
        assert run["runtime"] == (f"{runtime} fp32" if number else "torch fp32")
    for mask in masks[1:]:
        assert np.mean(mask != masks[0]) < 0.002


def test_first_inference_of_openvino_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads at once in it wait for each other for ever, now and then (seen with OpenVINO 2026.4.1)."""
    from casr_net.inference.runtimes import engines

    at_work, most, together = [], [], threading.Barrier(2, timeout=60)

    class Request:
        def infer(self, inputs: Any, share_inputs: bool) -> Any:
            at_work.append(1)
            most.append(len(at_work))
            if len(most) > 1:
                together.wait()  # those behind the first are not kept from each other
            else:
                time.sleep(0.2)
            at_work.pop()
            return [inputs[0]]

    engine = object.__new__(engines.OpenVINOEngine)
    monkeypatch.setattr(engines, "_begun", threading.Event())
    monkeypatch.setattr(engine, "_request", lambda shape: Request())
    threads = [threading.Thread(target=engine.run, args=(np.ones(3),), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most[:2] == [1, 1] and len(most) == 3 and engines._begun.is_set() and not at_work
