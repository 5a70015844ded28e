from __future__ import annotations

import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.ndimage import binary_dilation, distance_transform_edt

from casr_net.errors import DataError, UsageError
from casr_net.files.images import read_angiogram
from casr_net.synthetic.angiogram import SyntheticAngiogram, make_angiogram, make_cine
from casr_net.synthetic.dataset import write_dataset
from casr_net.synthetic.xray import Lumen, thickness_and_mask
from casr_net.training.cases import load_cases

SIZE = 256
SEEDS = range(10)


@pytest.fixture(scope="module")
def stills() -> list[SyntheticAngiogram]:
    return [make_angiogram(seed, SIZE, stenoses=seed % 3) for seed in SEEDS]


@pytest.fixture(scope="module")
def cine() -> list[SyntheticAngiogram]:
    return make_cine(3, 12, 128)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_equal_seeds_give_equal_images_and_others_do_not(stills: list[SyntheticAngiogram]) -> None:
    again = make_angiogram(4, SIZE, stenoses=1)
    assert np.array_equal(again.image, stills[4].image)
    assert np.array_equal(again.mask, stills[4].mask)
    assert json.dumps(again.truth) == json.dumps(stills[4].truth)
    assert len({item.image.tobytes() for item in stills}) == len({item.mask.tobytes() for item in stills}) == len(SEEDS)


def test_types_and_artery_mix(stills: list[SyntheticAngiogram]) -> None:
    for item in stills:
        assert item.image.shape == item.mask.shape == (SIZE, SIZE)
        assert item.image.dtype == np.uint8
        assert item.mask.dtype == bool
        assert item.image.std() > 5
    assert {item.truth["artery"] for item in stills} == {"LCA", "RCA"}


def test_murrays_law_at_every_branching(stills: list[SyntheticAngiogram]) -> None:
    branchings = 0
    for item in stills:
        branches = item.truth["branches"]
        assert [branch["id"] for branch in branches] == list(range(len(branches)))
        for parent in branches:
            children = [branch for branch in branches if branch["parent"] == parent["id"]]
            assert len(children) in (0, 2)
            if children:
                branchings += 1
                flow = sum(child["radii"][0] ** 3 for child in children)
                assert flow == pytest.approx(parent["radii"][-1] ** 3, rel=0.01)
                for child in children:
                    assert child["points"][0] == parent["points"][-1]
    assert branchings > 10 * len(SEEDS)


def test_centrelines_lie_in_the_mask_and_the_mask_within_the_radii(stills: list[SyntheticAngiogram]) -> None:
    checked = 0
    for item in stills:
        drawn, reach = np.zeros((SIZE, SIZE), bool), np.zeros((SIZE, SIZE), bool)
        for branch in item.truth["branches"]:
            for (x, y), radius in zip(branch["points"], branch["radii"], strict=True):
                column, row = round(x), round(y)
                if 0 <= column < SIZE and 0 <= row < SIZE:
                    drawn[row, column] = True
                    disc = np.zeros((SIZE, SIZE), np.uint8)
                    cv2.circle(disc, (column, row), int(np.ceil(radius + 0.71)), 1, -1)
                    reach |= disc > 0
        assert not (item.mask & ~binary_dilation(reach)).any()
        # A collimated part of the tree is not in the mask; the rest is, without gaps.
        missing = drawn & ~item.mask
        if item.image.min() > 20 and not missing.any():
            checked += 1
        else:
            hidden = cv2.GaussianBlur(item.image, (0, 0), 2) < 60
            rim = np.zeros_like(drawn)
            rim[[0, -1]] = rim[:, [0, -1]] = True
            assert not (missing & ~binary_dilation(hidden | rim, iterations=6)).any()
    assert checked >= 3


def test_a_straight_vessel_has_its_diameter_and_a_round_section() -> None:
    points = np.array([[-10.0, 20.0, 0.0], [60.0, 20.0, 0.0]])
    lumen = Lumen(points, np.full(2, 5.5), np.ones(2), None)
    thickness, mask = thickness_and_mask([lumen], 41, 0.5)
    assert (mask.sum(0) == 11).all()
    assert thickness[20] == pytest.approx(np.full(41, 11.0), rel=0.01)
    assert thickness[24] == pytest.approx(np.full(41, 2 * (5.5**2 - 16) ** 0.5), rel=0.02)


@pytest.mark.parametrize(("depth", "parent", "expected"), [(50.0, None, 22.0), (0.0, 0, 11.0)])
def test_crossings_add_up_but_a_common_lumen_counts_once(depth: float, parent: int | None, expected: float) -> None:
    ends = [np.array([[-10.0, 20, 0], [60, 20, 0]]), np.array([[20, -10.0, depth], [20, 60, depth]])]
    lumens = [Lumen(ends[0], np.full(2, 5.5), np.ones(2), None), Lumen(ends[1], np.full(2, 5.5), np.ones(2), parent)]
    assert thickness_and_mask(lumens, 41, 0.5)[0][20, 20] == pytest.approx(expected, rel=0.01)


def test_width_of_the_mask_grows_with_the_radii(stills: list[SyntheticAngiogram]) -> None:
    ratios = []
    for item in stills:
        inside = distance_transform_edt(item.mask)
        trunk = item.truth["branches"][0]
        half = len(trunk["points"]) // 2
        x, y = trunk["points"][half]
        ratios.append(inside[round(y), round(x)] / trunk["radii"][half])
    assert np.median(ratios) == pytest.approx(1, abs=0.25)


def test_vessels_are_darker_than_their_surroundings(stills: list[SyntheticAngiogram]) -> None:
    for item in stills:
        near = binary_dilation(item.mask, iterations=5) & ~binary_dilation(item.mask, iterations=2)
        near &= item.image > 0
        assert item.image[item.mask].mean() < item.image[near].mean() - 5


def test_vessel_fraction_is_that_of_real_masks() -> None:
    fractions = np.array([make_angiogram(seed, 512).mask.mean() for seed in range(20, 26)])
    assert fractions.min() > 0.02
    assert fractions.max() < 0.12
    assert 0.035 < fractions.mean() < 0.09


def test_stenoses_agree_with_the_radii(stills: list[SyntheticAngiogram]) -> None:
    assert [len(item.truth["stenoses"]) for item in stills] == [seed % 3 for seed in SEEDS]
    for item in stills:
        for stenosis in item.truth["stenoses"]:
            branch = item.truth["branches"][stenosis["branch"]]
            radii, index = np.array(branch["radii"]), stenosis["index"]
            assert branch["points"][index] == [stenosis["x"], stenosis["y"]]
            assert stenosis["minimal_lumen_diameter"] == pytest.approx(2 * radii[index], abs=0.003)
            assert radii[index] == radii[index - 2 : index + 3].min()
            # Without the narrowing the radius runs straight from end to end.
            healthy = np.interp(index, [0, len(radii) - 1], radii[[0, -1]])
            assert stenosis["reference_diameter"] == pytest.approx(2 * healthy, rel=0.01)
            narrowing = 100 * (1 - stenosis["minimal_lumen_diameter"] / stenosis["reference_diameter"])
            assert stenosis["percent_diameter"] == pytest.approx(narrowing, abs=0.2)
            assert 29 < stenosis["percent_diameter"] < 81
            assert 0 < stenosis["length"] < SIZE / 2


def test_contrast_fills_the_tree_of_a_cine_and_fades(cine: list[SyntheticAngiogram]) -> None:
    areas = [int(item.mask.sum()) for item in cine]
    assert areas[0] == 0
    full = int(np.argmax(areas))
    assert 3 < full < 11
    assert all(earlier <= later + 20 for earlier, later in itertools.pairwise(areas[: full + 1]))
    contrast = [np.concatenate([branch["contrast"] for branch in item.truth["branches"]]).mean() for item in cine]
    assert contrast[0] < 0.01
    assert max(contrast) > 0.85
    assert contrast[-1] < 0.7 * max(contrast)
    # What will be vessel is dark only once contrast is there.
    trunk = cine[full].mask
    assert cine[full].image[trunk].mean() < cine[0].image[trunk].mean() - 5


def test_the_tree_of_a_cine_moves_and_keeps_its_anatomy(cine: list[SyntheticAngiogram]) -> None:
    def points(item: SyntheticAngiogram) -> np.ndarray:
        return np.concatenate([branch["points"] for branch in item.truth["branches"]])

    motion = [np.linalg.norm(points(item) - points(cine[0]), axis=1).mean() for item in cine]
    assert 2 < max(motion) < 25
    assert [item.truth["frame"] for item in cine] == list(range(12))
    assert all(0 <= item.truth["phase"] < 1 for item in cine)
    radii = [[branch["radii"] for branch in item.truth["branches"]] for item in cine]
    assert all(frame == radii[0] for frame in radii)
    assert np.array_equal(make_cine(3, 12, 128)[5].image, cine[5].image)


def test_a_data_set_is_readable_and_reproducible(tmp_path: Path) -> None:
    written = write_dataset(tmp_path / "a", count=6, seed=5, size=96, folds=3)
    assert sorted(path.name for path in written) == sorted(Path(name).name for name in files(tmp_path / "a"))
    cases = load_cases(tmp_path / "a")
    assert [case["fold"] for case in cases] == [0, 1, 2, 0, 1, 2]
    image, mask = read_angiogram(cases[2]["image"]), read_angiogram(cases[2]["label"])
    assert image.size == mask.size == (96, 96)
    assert set(np.unique(mask.stored(0))) == {0, 255}
    truth = json.loads((tmp_path / "a" / "synthetic" / "truth" / "syn_00003.json").read_text())
    made = make_angiogram(truth["seed"], 96)
    assert np.array_equal(made.image.T, image.stored(0)[0])
    assert np.array_equal(made.mask.T, mask.stored(0)[0] > 0)
    write_dataset(tmp_path / "b", count=6, seed=5, size=96, folds=3)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    write_dataset(tmp_path / "c", count=1, seed=6, size=96)
    name = "synthetic/images/syn_00001.png"
    assert files(tmp_path / "c")[name] != files(tmp_path / "a")[name]


def test_cines_are_valid_dicom_with_masks_and_truth(tmp_path: Path) -> None:
    import pydicom

    for folder in ("a", "b"):
        write_dataset(tmp_path / folder, count=1, seed=2, frames=5, size=75)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    root = tmp_path / "a" / "synthetic"
    data = pydicom.dcmread(root / "images" / "syn_00001.dcm")
    truth = json.loads((root / "truth" / "syn_00001.json").read_text())["frames"]
    cine = make_cine(truth[0]["seed"], 5, 75)
    assert np.array_equal(data.pixel_array, np.stack([item.image for item in cine]))
    assert data.SOPClassUID == data.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.5.1.4.1.1.12.1"
    assert data.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert data.SOPInstanceUID == data.file_meta.MediaStorageSOPInstanceUID
    uids = {data.SOPInstanceUID, data.StudyInstanceUID, data.SeriesInstanceUID}
    assert len(uids) == 3
    assert all(uid.is_valid for uid in uids)
    assert data.PhotometricInterpretation == "MONOCHROME2"
    assert data.PatientName == "Synthetic^Angiogram"
    assert data.FrameIncrementPointer == pydicom.tag.Tag("FrameTime")
    assert data.CineRate == pytest.approx(1000 / data.FrameTime, abs=0.01)
    assert "ImagerPixelSpacing" not in data
    mask = read_angiogram(root / "masks" / "syn_00001.nrrd")
    assert mask.size == (75, 75)
    assert all(np.array_equal(mask.stored(i)[0], item.mask.T * 255) for i, item in enumerate(cine))
    assert [item["frame"] for item in truth] == list(range(5))
    assert not (tmp_path / "a" / "cases.csv").exists()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"count": 0}, "count is 0"),
        ({"frames": 0}, "frames is 0"),
        ({"size": 63}, "size is 63.*64"),
        ({"size": 2049}, "size is 2049.*2048"),
        ({"seed": -1}, "seed is -1"),
        ({"folds": 0}, "folds is 0"),
    ],
)
def test_bad_arguments_of_a_data_set_leave_nothing_behind(tmp_path: Path, wrong: dict[str, int], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        write_dataset(tmp_path / "out", **{"count": 1, "size": 64, **wrong})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"size": 63}, {"size": 2049}, {"stenoses": -1}])
def test_bad_arguments_of_an_image(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} is {next(iter(wrong.values()))}"):
        make_angiogram(**{"seed": 1, "size": 64, **wrong})


def test_an_empty_cine_is_refused() -> None:
    with pytest.raises(UsageError, match="frames is 0"):
        make_cine(1, 0, 64)


def test_an_existing_data_set_is_kept(tmp_path: Path) -> None:
    write_dataset(tmp_path, count=1, size=64)
    before = files(tmp_path)
    with pytest.raises(DataError, match="exists already"):
        write_dataset(tmp_path, count=1, seed=1, size=64)
    assert files(tmp_path) == before


@pytest.mark.parametrize("size", [64, 101])
def test_small_and_odd_sizes(size: int) -> None:
    item = make_angiogram(12, size, stenoses=1)
    assert item.image.shape == (size, size)
    assert 0.01 < item.mask.mean() < 0.25
