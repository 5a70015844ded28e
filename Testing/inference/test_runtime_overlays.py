"""Overlays and the environment variable choose the runtime wherever the bundle runs: MONAI's bundle, the worker."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from monai.bundle import ConfigWorkflow

from casr_net.errors import UsageError
from casr_net.inference.runtimes import packages
from casr_net.inference.segmenter import Segmenter
from casr_net.worker import FrameWorker

RUNTIMES = ("onnx", "openvino")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_overlays_work_in_monai_bundle(
    runtime: str, bundle: Path, png: Path, random_weights: Path, tmp_path: Path
) -> None:
    if runtime not in packages.installed_runtimes():
        pytest.skip(f"the packages of runtime {runtime!r} are not installed")
    overlay = bundle / "configs" / f"inference_{runtime}.json"
    assert len(json.loads(overlay.read_text(encoding="utf-8"))) <= 4
    workflow = ConfigWorkflow(
        config_file=[str(bundle / "configs" / "inference.json"), str(overlay)],
        meta_file=str(bundle / "configs" / "metadata.json"), logging_file=False, workflow_type="infer",
        bundle_root=str(bundle), weights=str(random_weights), inputs=[str(png)], output_dir=str(tmp_path / "out"),
        network_size=96, precision="fp32",
    )  # fmt: skip
    workflow.initialize()
    workflow.run()
    run = json.loads((tmp_path / "out" / "run.json").read_text())["runs"][0]
    assert run["runtime"] == f"{runtime} fp32" and run["device"] == "cpu" and run["frames"]["done"] == 1
    assert cv2.imread(str(tmp_path / "out" / "angio_mask.png"), cv2.IMREAD_UNCHANGED) is not None


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_variable_chooses_in_the_worker(
    runtime: str, small_config: Path, random_weights: Path, angiogram: np.ndarray, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if runtime not in packages.installed_runtimes():
        pytest.skip(f"the packages of runtime {runtime!r} are not installed")
    monkeypatch.setenv("CASR_RUNTIME", runtime)
    messages = []
    worker = FrameWorker(
        messages.append,
        lambda device: Segmenter(small_config, device=device, weights=str(random_weights), precision="fp32"),
    )
    np.save(tmp_path / "frames.npy", angiogram[None])
    (tmp_path / "job.json").write_text(json.dumps({"indices": [0], "device": "cpu"}))
    worker.segment(tmp_path)
    (frame,) = (message for message in messages if message["event"] == "frame")
    assert frame["runtime"] == f"{runtime} fp32" and (tmp_path / "mask_00000.npy").is_file()


def test_variable_without_the_packages_is_refused_by_the_worker(
    tmp_path: Path, angiogram: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASR_RUNTIME", "openvino")
    monkeypatch.setitem(packages.sys.modules, "openvino", None)
    np.save(tmp_path / "frames.npy", angiogram[None])
    (tmp_path / "job.json").write_text(json.dumps({"indices": [0], "device": "cpu"}))
    with pytest.raises(UsageError, match=r"pip install 'casr-net\[openvino\]'"):
        FrameWorker(lambda message: None).segment(tmp_path)
