"""Networks in 8 bits belong to weights, are chosen where they are clearly faster, and refused when wrong."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from casr_net.cli import main
from casr_net.errors import DataError, UsageError
from casr_net.inference.bundle import bundle_root, config_files, load_parser
from casr_net.inference.plans.order import Order
from casr_net.inference.plans.run import engine_of
from casr_net.inference.runtimes import choice, machine, packages, prepared, quantised, trial
from casr_net.inference.runtimes.engines import Engine, TorchEngine, as_onnx
from casr_net.inference.runtimes.prepared import Runtimes
from casr_net.inference.runtimes.quantised import Quantised, find_quantised, read_quantised, write_quantised
from casr_net.network.casrnet import CASRNet
from casr_net.network.weights import network_digest, sha256
from casr_net.training.precision import uses_bfloat16

SIZE = 96


@pytest.fixture
def needs_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    if "openvino" not in packages.installed_runtimes():
        pytest.skip("the packages of runtime 'openvino' are not installed")
    monkeypatch.delenv("CASR_RUNTIME")
    # These files have no 8 bits; the shipped one is tried where the processor can do them.
    monkeypatch.setattr(prepared, "vnni_supported", lambda: True)
    # Masks of random weights hang on the last bits.
    monkeypatch.setattr(prepared, "uses_bfloat16", lambda precision: uses_bfloat16(precision) and precision == "bf16")


@pytest.fixture(scope="module")
def network() -> CASRNet:
    torch.manual_seed(5)
    return CASRNet("efficientnet_lite0", decoder_channels=(8, 8, 8, 8, 8)).eval()


@pytest.fixture(scope="module")
def converted(network: CASRNet) -> bytes:
    return as_onnx(network, 3)


@pytest.fixture(scope="module")
def channels() -> Any:
    return load_parser(network_size=SIZE).get_parsed_content("channels")


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Only its folder matters, beside which no bundle lies."""
    path = tmp_path / "models" / "model.pt"
    path.parent.mkdir()
    path.touch()
    monkeypatch.setattr(quantised, "bundle_root", lambda: tmp_path / "bundle")
    return path


def int8_of(weights: Path) -> Path:
    return weights.with_name(f"{weights.stem}{quantised.ENDING}")


def file_of(network: CASRNet, path: Path, of: CASRNet | None = None) -> Path:
    """A file as ``experiments/quantise.py`` writes it, but for the 8 bits; it says that it was made ``of`` another."""
    import openvino

    model = openvino.Core().read_model(as_onnx(network, 3))
    xml = path.with_name("kept.xml")
    openvino.save_model(model, xml, compress_to_fp16=False)
    about = {"network": network_digest(of or network)}
    write_quantised(path, Quantised(about, xml.read_bytes(), xml.with_suffix(".bin").read_bytes()))
    return path


def written(path: Path, **about: Any) -> bytes:
    write_quantised(path, Quantised(about, b"<model/>", b"weights" * 100))
    return path.read_bytes()


def test_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    first, second = (written(tmp_path / f"{name}_int8.zip", network="abc", images=80) for name in "ab")
    assert first == second
    found = read_quantised(tmp_path / "a_int8.zip")
    assert (found.about["network"], found.about["images"]) == ("abc", 80)
    assert (found.model, found.weights) == (b"<model/>", b"weights" * 100)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model_int8.zip"
    whole = written(path, network="abc")
    place = whole.index(b"model.bin") + 12
    flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    for damaged in (whole[:-30], whole[: len(whole) // 2], b"", b"version https://git-lfs.github.com/spec/v1", flipped):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"model_int8\.zip: the network in 8 bits is damaged; bring it again"):
            read_quantised(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("about.json", json.dumps({"form": 7}))
    with pytest.raises(DataError, match="in 8 bits of form 7; this version reads 1"):
        read_quantised(path)
    with pytest.raises(DataError, match=r"other\.zip: cannot be read"):
        read_quantised(tmp_path / "other.zip")


def test_files_belong_to_weights_not_to_names(weights: Path, tmp_path: Path) -> None:
    models = tmp_path / "bundle" / "models"
    written(models / "model_int8.zip", network="shipped")
    written(weights.with_name("own_int8.zip"), network="own")
    for network in ("shipped", "own"):
        found = find_quantised(network, weights)
        assert found is not None and found.about["network"] == network
    assert find_quantised("other", weights) is None
    assert find_quantised("own", None) is None
    (models / "model_int8.zip").write_bytes(b"")
    assert find_quantised("own", weights) is not None
    with pytest.raises(DataError, match="damaged"):
        find_quantised("other", weights)


def test_a_network_in_8_bits_runs(network: CASRNet, channels: Any, weights: Path, needs_openvino: None) -> None:
    file_of(network, weights.with_name("model_int8.zip"))
    for runtime in ("auto", "openvino"):
        engine = Runtimes(runtime, weights, channels, "int8").engine(network)
        assert engine is not None and engine.name == "openvino int8"
        inputs = torch.rand(2, 3, 64, 96) * 2 - 1
        with torch.no_grad():
            assert (engine(inputs) - network(inputs)).abs().max() < 1e-3


def test_other_weights_have_none(network: CASRNet, channels: Any, weights: Path, needs_openvino: None) -> None:
    other = CASRNet("efficientnet_lite0", decoder_channels=(8, 8, 8, 8, 8)).eval()
    file_of(network, weights.with_name("model_int8.zip"))
    with pytest.raises(UsageError, match="'int8': there is none for these weights; expected a file"):
        Runtimes("openvino", weights, channels, "int8").engine(other)
    with pytest.raises(UsageError, match="precision 'int8': runtime 'torch' has none; use runtime openvino"):
        Runtimes("torch", weights, channels, "int8")
    with pytest.raises(UsageError, match="precision is 'int4'"):
        Runtimes("torch", weights, channels, "int4")


def test_wrong_ones_are_refused(
    network: CASRNet, converted: bytes, channels: Any, weights: Path, needs_openvino: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """One with values that are not finite, and one that finds everything; others are taken where 8 bits need not be."""
    monkeypatch.setattr(prepared, "as_onnx", lambda *_: converted)
    monkeypatch.setattr(prepared, "installed_runtimes", lambda: ["torch", "openvino"])
    for number, (bias, text) in enumerate([(float("nan"), "values that are not finite"), (50.0, "Dice 0")], start=1):
        wrong = CASRNet("efficientnet_lite0", decoder_channels=(8, 8, 8, 8, 8)).eval()
        wrong.load_state_dict(network.state_dict())
        with torch.no_grad():
            wrong.head.bias.fill_(bias)
        file_of(wrong, weights.with_name("model_int8.zip"), of=network)
        with pytest.raises(UsageError, match=f"runtime 'openvino' in int8 is refused: .*{text}"):
            Runtimes("openvino", weights, channels, "int8").engine(network)
        engine = Runtimes("auto", weights, channels, "auto").engine(network)
        assert engine is not None and not engine.name.endswith("int8")
        assert caplog.text.count("runtime 'openvino' in int8 is not used: ") == number
    weights.with_name("model_int8.zip").write_bytes(b"")
    with pytest.raises(DataError, match="the network in 8 bits is damaged"):
        Runtimes("openvino", weights, channels, "int8").engine(network)
    engine = Runtimes("openvino", weights, channels, "auto").engine(network)
    assert engine is not None and engine.name in ("openvino fp32", "openvino bf16")
    assert "the network in 8 bits is damaged" in caplog.text


@pytest.mark.parametrize(("runtime", "slow"), [("openvino", 0.3), ("openvino", 0.0), ("auto", 0.3)])
def test_8_bits_are_chosen_where_they_are_clearly_faster(
    network: CASRNet, channels: Any, weights: Path, monkeypatch: pytest.MonkeyPatch, runtime: str, slow: float,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.delenv("CASR_RUNTIME")
    monkeypatch.setattr(prepared, "vnni_supported", lambda: True)
    written(weights.with_name("model_int8.zip"), network=network_digest(network))
    times = {"openvino": 100.0 + 1000 * slow, "openvino int8": 95.0, "torch": 300.0}
    monkeypatch.setattr(prepared, "measure", lambda engines, sample: {name: times[name] for name in engines})
    monkeypatch.setattr(prepared, "installed_runtimes", lambda: ["torch", "openvino"])
    monkeypatch.setattr(packages, "require_runtime", lambda name: None)
    monkeypatch.setattr(prepared, "runtime_versions", lambda names: dict.fromkeys(names, "1"))
    monkeypatch.setattr(prepared, "version", lambda name: "1")
    monkeypatch.setattr(prepared, "as_onnx", lambda network, channels: b"model")

    class Fake(TorchEngine):
        def __init__(self, model: bytes, bfloat16: bool = False, weights: bytes = b"") -> None:
            super().__init__(network)
            self.name = f"openvino {'int8' if weights else 'fp32'}"

    monkeypatch.setattr(prepared, "OpenVINOEngine", Fake)
    caplog.set_level(logging.INFO)
    for kept in (False, True):
        if kept:
            monkeypatch.setattr(prepared, "measure", lambda *_: pytest.fail("it was measured before"))
        engine = Runtimes(runtime, weights, channels, "auto").engine(network)
        assert engine is not None and engine.name == ("openvino int8" if slow else "openvino fp32")
    assert "openvino int8 95" in caplog.text
    monkeypatch.setattr(prepared, "measure", lambda engines, sample: dict.fromkeys(engines, 1.0))
    engine = Runtimes("openvino", weights, channels, "fp32").engine(network)
    assert engine is not None and engine.name == "openvino fp32"


def test_what_is_not_in_8_bits_is_in_bfloat16_where_the_processor_has_it(
    network: CASRNet, channels: Any, weights: Path, needs_openvino: None, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    file_of(network, int8_of(weights))

    def name() -> str:
        engine = Runtimes("openvino", weights, channels, "int8").engine(network)
        assert engine is not None
        return engine.name

    monkeypatch.setattr(prepared, "try_engine", lambda engine, sample, reference: None)
    monkeypatch.setattr(prepared, "uses_bfloat16", lambda precision: False)
    assert name() == "openvino int8"
    monkeypatch.setattr(prepared, "uses_bfloat16", lambda precision: True)
    assert name() == "openvino int8+bf16"

    def refuses(engine: Engine, sample: torch.Tensor, reference: bytes) -> None:
        if engine.name == "openvino int8+bf16":
            raise trial.RefusedError("another mask")

    monkeypatch.setattr(prepared, "try_engine", refuses)
    assert name() == "openvino int8"
    assert "runtime 'openvino' in int8 in bfloat16 is refused: another mask" in caplog.text


def test_plans_know_both_kinds(network: CASRNet, weights: Path, needs_openvino: None) -> None:
    file_of(network, int8_of(weights))
    model = read_quantised(int8_of(weights)).described
    order: Any = SimpleNamespace(weights=str(weights))
    for name in ("openvino int8", "openvino int8+bf16"):
        engine = engine_of(name, model, order)
        assert engine is not None and engine.name == name
    assert engine_of("openvino int8", {**model, "digest": "of another"}, order) is None


def test_a_new_file_makes_a_new_plan(weights: Path) -> None:
    order = Order(config_files([]), {"weights": str(weights)})
    before = order.key()
    written(int8_of(weights), network="abc")
    assert order.key() != before
    int8_of(weights).unlink()
    assert order.key() == before


def test_the_shipped_one_is_of_the_shipped_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = bundle_root() / "models" / "model.pt"
    path = int8_of(shipped)
    if not path.is_file():
        pytest.skip("no network in 8 bits is shipped")
    assert path.stat().st_size <= 8e6
    assert read_quantised(path).about["weights_sha256"] == sha256(shipped)
    if "openvino" not in packages.installed_runtimes() or not (machine.vnni_supported() or machine.avx2_supported()):
        pytest.skip("it runs with OpenVINO on processors with VNNI or AVX2")
    monkeypatch.delenv("CASR_RUNTIME")
    parser = load_parser(device_name="cpu", runtime="openvino", precision="int8")
    network, channels = (parser.get_parsed_content(name) for name in ("network", "channels"))
    engine = Runtimes("openvino", shipped, channels, "int8").engine(network.eval())  # tried on the sample
    assert engine is not None and engine.name.startswith("openvino int8")


def test_fewer_bits_need_a_clear_gain() -> None:
    assert choice.fastest({"torch": 100, "openvino": 60, "openvino int8": 55}) == "openvino"
    assert choice.fastest({"torch": 100, "openvino": 60, "openvino int8": 50}) == "openvino int8"
    assert choice.fastest({"torch": 100, "openvino": 95, "openvino int8": 92}) == "torch"
    assert choice.fastest({"torch": 100, "openvino": 95, "openvino int8": 80}) == "openvino int8"
    assert choice.fastest({"openvino": 60, "openvino int8": 55}) == "openvino"


@pytest.mark.parametrize(("avx2", "vnni"), [(True, False), (False, True), (False, False)])
def test_processors_without_fast_sums_get_none(
    network: CASRNet, channels: Any, weights: Path, needs_openvino: None, monkeypatch: pytest.MonkeyPatch,
    avx2: bool, vnni: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(prepared, "vnni_supported", lambda: vnni)
    monkeypatch.setattr(prepared, "avx2_supported", lambda: avx2)
    file_of(network, weights.with_name("model_int8.zip"))
    order = Runtimes("openvino", weights, channels, "int8")
    if avx2 or vnni:
        engine = order.engine(network)
        assert engine is not None and engine.name == "openvino int8"
        return
    with pytest.raises(UsageError, match="precision 'int8': this processor has neither VNNI nor AVX2"):
        order.engine(network)
    engine = Runtimes("openvino", weights, channels, "fp32").engine(network)
    assert engine is not None and engine.name == "openvino fp32"


@pytest.mark.skipif(
    not (machine.vnni_supported() or machine.avx2_supported()), reason="8 bits are for processors with VNNI or AVX2"
)
def test_command_line(
    png: Path, small_config: Path, random_weights: Path, tmp_path: Path, needs_openvino: None,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The second run goes by a plan, without torch."""
    weights = tmp_path / "weights" / "random.pt"
    weights.parent.mkdir()
    shutil.copyfile(random_weights, weights)
    file_of(load_parser(weights=str(weights), device_name="cpu").get_parsed_content("network"), int8_of(weights))
    command = ["segment", str(png), "--config", str(small_config), "--quiet", "--precision", "int8"]
    first, second = tmp_path / "first", tmp_path / "second"
    words = [*command, "--weights", str(weights), "--output"]
    assert main([*words, str(first)]) == 0
    code = "import sys; from casr_net.cli import main; sys.exit(main(sys.argv[1:]) or 'torch' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != "CASR_RUNTIME"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run([sys.executable, "-c", code, *words, str(second)], env=environment, check=False)
    assert done.returncode == 0
    for folder in (first, second):
        assert json.loads((folder / "run.json").read_text())["runs"][0]["runtime"] == "openvino int8"
    assert (first / "angio_mask.png").read_bytes() == (second / "angio_mask.png").read_bytes()
    int8_of(weights).unlink()
    assert main([*words, str(tmp_path / "without")]) == 2
    assert "precision 'int8': there is none for these weights" in capsys.readouterr().err
