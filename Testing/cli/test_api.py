from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from casr_net import Segmenter
from casr_net.errors import CASRError, DataError, UsageError, WeightsError


@pytest.fixture(scope="module")
def segmenter(random_weights: Path, small_config: Path) -> Segmenter:
    return Segmenter(small_config, device="cpu", weights=str(random_weights))


def test_file_and_array_give_the_same(segmenter: Segmenter, png: Path, angiogram: np.ndarray) -> None:
    from_file, from_array = segmenter(png), segmenter(angiogram)
    assert from_file.mask.shape == from_file.probability.shape == angiogram.shape
    assert from_file.mask.dtype == bool
    assert 0 <= from_file.probability.min() <= from_file.probability.max() <= 1
    assert (from_file.mask == from_array.mask).all()
    assert np.allclose(from_file.probability, from_array.probability, atol=1e-6)


def test_cine_array(segmenter: Segmenter, angiogram: np.ndarray) -> None:
    result = segmenter(np.stack([angiogram, angiogram[::-1]]))
    assert result.mask.shape == (2, *angiogram.shape)
    assert np.allclose(result.probability[0], segmenter(angiogram).probability, atol=1e-6)


def test_high_bit_depth_is_scaled(segmenter: Segmenter, angiogram: np.ndarray) -> None:
    deep = angiogram.astype(np.uint16) * 16
    assert np.allclose(segmenter(deep).probability, segmenter(deep * 2.0).probability, atol=1e-4)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((4, 4, 4, 4)), "shape"),
        (np.zeros((8, 8)), "32 or more"),
        (np.full((64, 64), np.nan), "finite"),
        (np.full((64, 64), 3), "constant"),
        (np.full((64, 64), "a"), "real values"),
    ],
)
def test_bad_arrays(segmenter: Segmenter, array: np.ndarray, text: str) -> None:
    with pytest.raises(DataError, match=text):
        segmenter(array)


def test_errors_come_through_the_configuration_system(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such weights file"):
        Segmenter(weights=str(tmp_path / "none.pt"))
    with pytest.raises(UsageError, match="device is 'x'"):
        Segmenter(device="x")
    with pytest.raises(CASRError, match="has no key 'refin'; did you mean 'refine'"):
        Segmenter(refin=False)


def test_package_names_only_what_it_has() -> None:
    import casr_net

    with pytest.raises(AttributeError, match="nothing"):
        _ = casr_net.nothing


def test_version_is_that_of_the_code_that_runs() -> None:
    """Not what pip knows, which may be of another copy."""
    from casr_net import __version__
    from casr_net.inference.provenance import package_versions

    assert package_versions()["casr-net"] == __version__


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder where nobody may write")
def test_folder_that_cannot_be_written_is_named(png: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from casr_net.cli import main

    assert main(["segment", str(png), "-o", "/proc/self/results"]) != 0
    error = capsys.readouterr().err
    assert "/proc/self/results: " in error and ".probe" not in error
