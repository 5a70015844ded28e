"""``casr segment`` without torch: a second run of a command goes by the plan of the first, and gives the same."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from makers.alone import run_alone
from makers.dicoms import write, xa
from monai.transforms import Compose, DivisiblePad, Resize

from casr_net.cli import main
from casr_net.inference import provenance
from casr_net.inference.bundle import build, config_files, load_parser
from casr_net.inference.plans import order
from casr_net.inference.plans.making import _plan
from casr_net.inference.plans.order import Order
from casr_net.inference.plans.plan import Plan
from casr_net.inference.plans.run import PlannedRun, planned_run
from casr_net.inference.predict import postprocessed
from casr_net.inference.run import run_inference
from casr_net.inference.runtimes.machine import bfloat16_supported
from casr_net.inference.runtimes.packages import installed_runtimes
from casr_net.inference.runtimes.store import Store
from casr_net.preprocessing.grid import cropped, divisible_padding, longest_size, padded, resampled
from casr_net.preprocessing.load import image_tensor
from casr_net.refinement.probability import probability

RUNTIMES = [name for name in ("onnx", "openvino") if name in installed_runtimes()]
needs_runtime = pytest.mark.skipif(not RUNTIMES, reason="neither ONNX Runtime nor OpenVINO is installed")

SIZES = [(160, 128), (512, 512), (333, 201), (96, 96), (97, 95), (64, 300), (2048, 1500)]


def grey_of(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Smooth grey, (X, Y), with a black rim along one side."""
    rng = np.random.default_rng(seed)
    grey = cv2.GaussianBlur(rng.random(size, np.float32), (0, 0), max(size) / 60)
    grey = (grey - grey.min()) / (grey.max() - grey.min())
    grey[: size[0] // 12] = 0
    return grey


def asked_for(output: Path, inputs: list[Path], weights: Path, config: Path, **others: Any) -> tuple[list[str], Any]:
    """As the command line asks."""
    files = config_files([config])
    asked = {
        "inputs": [str(path) for path in inputs], "output_dir": str(output), "format": "png", "overlay": False,
        "areas": False, "probability": False, "refine": True, "overwrite": False, "device_name": "auto", "flat": False,
        "key_frames": None, "config_overlays": files[1:], "weights": str(weights), "runtime": RUNTIMES[0], **others,
    }  # fmt: skip
    return files, asked


def without_times(content: Any) -> Any:
    """A record without what differs from run to run."""
    if isinstance(content, dict):
        changing = {"started", "finished", "seconds", "output_folder"}
        return {key: without_times(value) for key, value in content.items() if key not in changing}
    return [without_times(part) for part in content] if isinstance(content, list) else content


@needs_runtime
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_second_run_imports_no_torch_and_gives_the_same(
    runtime: str, weights: Path, small_config: Path, mirrored_config: Path, png: Path, tmp_path: Path,
    angiogram: np.ndarray,
) -> None:  # fmt: skip
    """A picture, with its mirror images, a cine with a frame that is damaged, and files that cannot be used."""
    from PIL import Image

    frames = [Image.fromarray(np.roll(angiogram, 9 * place, axis=0)) for place in range(4)]
    cine = png.parent / "cine.tif"
    frames[0].save(cine, save_all=True, append_images=frames[1:], compression="tiff_lzw")
    content = bytearray(cine.read_bytes())
    with Image.open(cine) as pages:
        pages.seek(2)
        place = pages.tag_v2[273][0]  # of the third page's first strip
    content[place : place + 400] = bytes(400)
    cine.write_bytes(content)
    cv2.imwrite(str(png.parent / "plain.png"), np.full((64, 64), 9, np.uint8))
    (png.parent / "bad.png").write_bytes(b"no picture")
    words = [
        "segment", str(png.parent), "-w", str(weights), "-c", str(small_config), "-c", str(mirrored_config),
        "--runtime", runtime, "-p", "--overlay", "--areas", "-q", "-o",
    ]  # fmt: skip
    first, second = tmp_path / "first", tmp_path / "second"
    assert main([*words, str(first)]) == 1
    assert list(weights.parent.glob(".runtimes/plan-*.zip"))
    assert run_alone([*words, str(second)]) == []
    names = sorted(path.name for path in first.iterdir())
    assert "cine_f0001_mask.png" in names and "angio_probability.png" in names
    assert names == sorted(path.name for path in second.iterdir())
    for name in names:
        if name != "run.json":
            assert (first / name).read_bytes() == (second / name).read_bytes(), name
    records = [json.loads((folder / "run.json").read_text(encoding="utf-8")) for folder in (first, second)]
    assert without_times(records[0]) == without_times(records[1])
    stages = [set(record["runs"][0]["seconds"]) for record in records]
    assert stages[0] == stages[1]
    assert records[1]["runs"][0]["runtime"].startswith(runtime)
    failed = {Path(file["path"]).name for file in records[1]["runs"][0]["files"] if file["error"]}
    assert failed == {"plain.png", "bad.png", "cine.tif"}
    # What is there is kept: the settings are those of the other way.
    assert run_alone([*words, str(first)]) == []
    again = json.loads((first / "run.json").read_text(encoding="utf-8"))["runs"]
    assert {file["name"]: file["state"] for file in again[1]["files"]}["angio"] == "kept"


@needs_runtime
def test_plan_holds_for_what_it_was_made_from(
    weights: Path, small_config: Path, png: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, asked = asked_for(tmp_path / "out", [png], weights, small_config)
    words = ["segment", str(png), "-o", str(tmp_path / "out"), "-w", str(weights), "-c", str(small_config), "-q"]
    assert planned_run(files, asked) is None
    assert main([*words, "--runtime", RUNTIMES[0]]) == 0

    def found(**others: Any) -> bool:
        return planned_run(*asked_for(tmp_path / "out", [png], weights, small_config, **others)) is not None

    assert found() and found(overlay="frames", overwrite=True, format="nrrd")
    assert not found(refine=False) and not found(window=[100.0, 90.0]) and not found(device_name="cpu")
    assert not found(runtime="auto") and not found(key_frames=2) and not found(device_name="cuda")
    assert not found(tta=True) and not found(tta=False), "of another plan"
    for target, name, value in (
        (provenance, "__version__", "0.0.1"), (order, "_code", lambda: "other"), (order, "FORM", 0),
        (order, "graphics", lambda: ["/dev/nvidia0"]),
    ):  # fmt: skip
        with monkeypatch.context() as change:
            change.setattr(target, name, value)
            assert not found(), name
    with monkeypatch.context() as change:
        change.setenv("OMP_NUM_THREADS", "3")
        assert not found()
    before = small_config.read_text(encoding="utf-8")
    try:
        small_config.write_text(json.dumps({"network_size": 64}), encoding="utf-8")
        assert not found()
    finally:
        small_config.write_text(before, encoding="utf-8")
    assert found()
    content = weights.read_bytes()
    weights.write_bytes(content + b"\0")
    assert not found()
    weights.write_bytes(content)
    # Without the converted network, or with a plan that is damaged, the ordinary way makes both anew.
    for pattern in ("onnx-*.zip", "plan-*.zip"):
        (kept,) = weights.parent.glob(f".runtimes/{pattern}")
        kept.write_bytes(kept.read_bytes()[:100])
        assert not found()
        assert main([*words, "--runtime", RUNTIMES[0], "--overwrite"]) == 0
        assert found()


@needs_runtime
def test_lists_and_addresses_go_by_a_plan(weights: Path, tmp_path: Path, angiogram: np.ndarray) -> None:
    """Without torch, with the token of the command or of the configuration, and with the same results and record."""
    pytest.importorskip("dicomweb_client")
    from makers.fake_pacs import FakePACS

    cines = [np.stack([np.roll(angiogram, 9 * place + shift, axis=0) for place in range(2)]) for shift in (0, 30)]
    names = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4"}
    sources = [write(tmp_path / f"{place}.dcm", xa(cine, **names)) for place, cine in enumerate(cines)]
    (tmp_path / "token").write_text("abc\n")
    (tmp_path / "other").write_text("xyz\n")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"token_file": str(tmp_path / "other"), "network_size": 96}), encoding="utf-8")
    pacs = FakePACS(sources[1:])
    (tmp_path / "cines.txt").write_text(f"{sources[0]}\n{pacs.url}?Modality=XA\n{tmp_path / 'missing.dcm'}\n")
    words = ["segment", str(tmp_path / "cines.txt"), "-w", str(weights), "--runtime", RUNTIMES[0], "-q", "--flat"]
    words += ["-c", str(config), "-o"]
    first, second = tmp_path / "first", tmp_path / "second"

    def tokens() -> set[str]:
        sent = {one.headers["authorization"] for one in pacs.asked}
        pacs.asked.clear()
        return sent

    try:
        assert main([*words, str(first), "--token-file", str(tmp_path / "token")]) == 1
        assert tokens() == {"Bearer abc"}
        assert run_alone([*words, str(second)]) == [] and tokens() == {"Bearer xyz"}
        masks = [{path.name: path.read_bytes() for path in output.glob("*.png")} for output in (first, second)]
        assert masks[0] == masks[1] and len(masks[0]) == 4
        records = [json.loads((output / "run.json").read_text()) for output in (first, second)]
        assert without_times(records[0]) == without_times(records[1])
        assert sorted(file["state"] for file in records[1]["runs"][0]["files"]) == ["done", "done", "failed"]
        assert records[1]["runs"][0]["runtime"].startswith(RUNTIMES[0])
        assert run_alone([*words, str(first), "--token-file", str(tmp_path / "token")]) == []
        assert tokens() == {"Bearer abc"}
        again = json.loads((first / "run.json").read_text())["runs"][1]
        assert sorted(file["state"] for file in again["files"]) == ["failed", "kept", "kept"]
    finally:
        pacs.stop()


@needs_runtime
def test_a_choice_that_is_measured_anew_ends_the_plan(
    weights: Path, small_config: Path, png: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from casr_net.inference.runtimes import prepared

    monkeypatch.delenv("CASR_RUNTIME")
    monkeypatch.setattr(prepared, "fastest", lambda times: RUNTIMES[0])
    words = ["segment", str(png), "-o", str(tmp_path / "out"), "-w", str(weights), "-c", str(small_config), "-q"]
    assert main(words) == 0
    files, asked = asked_for(tmp_path / "other", [png], weights, small_config)
    del asked["runtime"]
    run = planned_run(files, asked)
    assert isinstance(run, PlannedRun)
    frames = run.frames()
    assert frames is not None and run_inference(frames, run.report).exit_code == 0 and frames.finished
    assert run.network.used.split()[0] == RUNTIMES[0] == run.report.record.runs[0]["runtime"].split()[0]
    (choice,) = weights.parent.glob(".runtimes/choice-*.zip")
    choice.unlink()
    assert planned_run(files, asked) is None


def test_overlays_that_only_monai_can_read_have_no_plan(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.json"
    for content, plain in (
        ({"network_size": 96}, True), ({"postprocessing#transforms#3#max_gap": 0.1}, True), ({"inputs": "x"}, True),
        ({"weights": "$@bundle_root + '/models/compact.pt'"}, True), ({"weights": "$open('x').read()"}, False),
        ({"threshold": "$float(__import__('os').environ['T'])"}, False), ({"channel_names": ["%x.json::y"]}, False),
        ({"token_file": "secret.txt"}, True), ({"token_file": None}, True), ({"token_file": "@weights"}, False),
        ({"writer": {"_target_": "casr_net.files.ResultWriter"}}, False), ({"handlers#0#mask_key": "pred"}, False),
    ):  # fmt: skip
        overlay.write_text(json.dumps(content), encoding="utf-8")
        found = Order(config_files([overlay]), {})
        assert found.plain == plain, content
        if plain:
            parser = load_parser([overlay])
            assert found.weights == str(build(parser, "weights")) and found.token_file == build(parser, "token_file")


@needs_runtime
@pytest.mark.parametrize("aside", [{}, {"refine": False}, {"channel_names": ["zero", "grey", "clahe"]}])
def test_stages_of_a_plan_are_those_of_the_configuration(
    aside: dict[str, Any], weights: Path, small_config: Path, png: Path, tmp_path: Path
) -> None:
    """To the last bit, at any size."""
    files, asked = asked_for(tmp_path / "out", [png], weights, small_config, **aside)
    parser = load_parser(files[1:], **asked)
    inferer = build(parser, "inferer")
    inferer._runtimes.store.given["onnx"] = {}
    inferer._runtimes._engine = type("Engine", (), {"name": f"{RUNTIMES[0]} fp32"})()
    made = _plan(Order(files, asked), parser)
    assert made is not None
    plan = Plan.of_json(made.as_json())
    assert plan == Plan(**{**vars(made), "settings": json.loads(json.dumps(made.settings))})
    channels, postprocessing = build(parser, "channels"), build(parser, "postprocessing")
    for number, size in enumerate(SIZES[:3] if aside else SIZES):
        grey = grey_of(size, number)
        expected = channels({"image": image_tensor(grey, np.eye(4))})
        found = plan.prepare({"image": grey})
        for name in ("image", "field"):
            assert np.array_equal(found[name], expected[name].numpy()), (size, name)
        logits = 12 * (grey_of(found["image"].shape[1:], 50 + number)[None] - np.float32(0.6))
        expected["pred"] = expected["image"][:1].clone()
        expected["pred"][:] = torch.from_numpy(logits)
        whole = postprocessed(postprocessing, expected)
        done = plan.refine({**found, "pred": logits})
        assert done["pred"].shape == size and done["pred"].any(), size
        for name in ("pred", "probability"):
            assert np.array_equal(done[name], whole[name][0].numpy()), (size, name)


def test_a_changed_order_of_transforms_has_no_plan(
    weights: Path, small_config: Path, png: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Parts that nobody knows: the run itself is not touched by that."""
    overlay = tmp_path / "overlay.json"
    overlay.write_text(json.dumps({"network_size": 96, "channels#transforms#3#mode": "reflect"}), encoding="utf-8")
    words = ["segment", str(png), "-o", str(tmp_path / "out"), "-w", str(weights), "-c", str(overlay)]
    with caplog.at_level(logging.WARNING):
        assert main([*words, "--runtime", (RUNTIMES or ["torch"])[0]]) == 0
    assert not list(weights.parent.glob(".runtimes/plan-*.zip")) and not caplog.records


@pytest.mark.parametrize("size", SIZES)
def test_grids_are_those_of_monai(size: tuple[int, int]) -> None:
    """Up to rounding: torch computes places in single precision."""
    grey = np.random.default_rng(3).random(size, np.float32)
    expected = Resize(96, size_mode="longest", mode="bilinear", anti_aliasing=True)(torch.from_numpy(grey)[None])
    fitted = longest_size(size, 96)
    assert expected.shape[1:] == fitted
    assert np.abs(resampled(grey, fitted, anti_aliasing=True) - expected[0].numpy()).max() < 3e-5
    back = Resize(size, mode="bilinear")(expected)[0].numpy()
    assert np.abs(resampled(expected[0].numpy(), size) - back).max() < 3e-5
    padding = divisible_padding(fitted, 32)
    for mode in ("edge", "constant"):
        wide = padded(expected.numpy(), padding, mode)
        assert np.array_equal(wide, DivisiblePad(32, mode=mode)(expected).numpy())
        assert np.array_equal(cropped(wide[0], padding), expected[0].numpy())


def test_equal_steps_of_size_are_exact() -> None:
    grey = np.random.default_rng(4).random((1024, 768), np.float32)
    expected = Resize(512, size_mode="longest", mode="bilinear", anti_aliasing=True)(torch.from_numpy(grey)[None])
    assert np.abs(resampled(grey, (512, 384), anti_aliasing=True) - expected[0].numpy()).max() < 1e-6
    assert resampled(grey, (1024, 768), anti_aliasing=True) is grey


def test_probability_is_the_logistic_function() -> None:
    logits = np.concatenate([np.random.default_rng(5).normal(0, 30, 10_000), [-500, 500, 0]]).astype(np.float32)
    found = probability(logits)
    assert found.dtype == np.float32 and found[-3:].tolist() == [0, 1, 0.5]
    assert np.abs(found - torch.sigmoid(torch.from_numpy(logits)).numpy()).max() < 2e-7


def test_processor_is_asked_as_torch_asks_it() -> None:
    assert bfloat16_supported() == torch.cpu._is_avx512_bf16_supported()


def test_store_replaces_what_it_keeps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path / "store")
    assert store.kept("plan", {"a": 1}) is None
    store.put("plan", {"a": 1}, b"one")
    store.put("plan", {"a": 1}, b"two")
    assert store.kept("plan", {"a": 1}) == b"two" and store.kept("plan", {"a": 2}) is None
    assert store.get("plan", {"a": 1}, lambda: b"three") == b"two" and store.given == {"plan": {"a": 1}}
    (tmp_path / "file").touch()
    Store(tmp_path / "file").put("plan", {}, b"one")
    assert "made anew in the next run" in caplog.text


def test_compose_of_a_kind_of_its_own_is_no_known_step() -> None:
    from casr_net.inference.plans.making import _flat

    class Own(Compose):
        pass

    own = Own([])
    assert list(_flat(Compose([Compose([own])]))) == [own]
