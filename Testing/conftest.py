"""Shared fixtures. Tests run on images that they make themselves; those that need the real sets skip without them."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import settings

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# What tests compare is the same on every machine: nothing is measured, but in the tests of the choice itself.
os.environ.setdefault("CASR_RUNTIME", "torch")

# CI repeats the same examples, so that a failure there can be repeated; developers explore new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "monai_bundle"


def draw_vessels(columns: int = 160, rows: int = 128, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A crude angiogram, uint8 (rows, columns), and its bool mask: dark smooth curves on a bright uneven ground."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((rows, columns), np.uint8)
    for start in (0.25, 0.5, 0.7):
        t = np.linspace(0, 1, 40)
        y = rows * (start + 0.12 * np.sin(3 * t + seed)) + 0.1 * rows * t
        points = np.stack([t * (columns - 1), y], axis=1).round().astype(np.int32)
        cv2.polylines(mask, [points], False, 1, 5)
    ground = 150 + 30 * np.linspace(0, 1, columns)[None] + rng.normal(0, 3, (rows, columns))
    image = cv2.GaussianBlur(ground - 70 * mask, (0, 0), 1)
    return np.clip(image, 0, 255).astype(np.uint8), mask > 0


@pytest.fixture(autouse=True)
def messages_as_before() -> Iterator[None]:
    """The command line sets up its own way for messages, perhaps in a fixture of a whole module; each test begins with
    the usual one."""
    logger = logging.getLogger("casr_net")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)  # not the attribute: what is enabled is cached
    yield
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def bundle() -> Path:
    return BUNDLE


@pytest.fixture
def angiogram() -> np.ndarray:
    return draw_vessels()[0]


@pytest.fixture
def png(tmp_path: Path, angiogram: np.ndarray) -> Path:
    """A grey PNG of 160 columns and 128 rows."""
    path = tmp_path / "in" / "angio.png"
    path.parent.mkdir()
    cv2.imwrite(str(path), angiogram)
    return path


@pytest.fixture
def write_xa() -> Callable[..., Path]:
    """``write_xa(path, frames, **attributes)`` -> path of a minimal XA object with frames (N, rows, columns)."""

    def write(path: Path, frames: np.ndarray, **attributes: Any) -> Path:
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian, generate_uid

        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.12.1"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
        data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
        data.Modality, data.PhotometricInterpretation, data.SamplesPerPixel = "XA", "MONOCHROME2", 1
        data.NumberOfFrames, data.Rows, data.Columns = frames.shape
        data.BitsAllocated = 8 * frames.dtype.itemsize
        data.BitsStored, data.HighBit = data.BitsAllocated, data.BitsAllocated - 1
        data.PixelRepresentation = int(frames.dtype.kind == "i")
        data.PixelData = frames.astype(frames.dtype.newbyteorder("<")).tobytes()
        for name, value in attributes.items():
            setattr(data, name, value)
        data.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the light network as it is initialised: enough to run everything around it."""
    from casr_net.inference.bundle import load_parser
    from casr_net.network.weights import save_weights

    torch.manual_seed(3)
    network = load_parser().get_parsed_content("network_def")
    return save_weights(network, tmp_path_factory.mktemp("weights") / "random.pt")


@pytest.fixture(scope="session")
def small_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Overlay that makes the network's input small, for speed, and leaves out mirror images: the mean over them is next
    to nothing where weights were never trained."""
    path = tmp_path_factory.mktemp("config") / "small.json"
    path.write_text(json.dumps({"network_size": 96, "tta": False}))
    return path


@pytest.fixture(scope="session")
def mirrored_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Overlay for behind that one: mirror images of single images, as shipped."""
    path = tmp_path_factory.mktemp("config") / "mirrored.json"
    path.write_text(json.dumps({"tta": "auto"}))
    return path


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the public sets, which are not part of the repository."""
    path = ROOT.parent / "shared" / "data"
    if not (path / "cases.csv").is_file():
        pytest.skip("the real angiograms (shared/data) are not on this machine")
    return path


@pytest.fixture(scope="session")
def synthetic_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten small synthetic angiograms with masks and ``cases.csv``, two a fold."""
    from casr_net.synthetic.dataset import write_dataset

    folder = tmp_path_factory.mktemp("synthetic")
    write_dataset(folder, count=10, seed=5, size=96)
    return folder
