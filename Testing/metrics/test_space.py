"""Masks that lie on other grids than their references, compared where the files say that they lie."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from casr_net.errors import DataError
from casr_net.evaluation.compare import evaluate_folders, format_report
from casr_net.files.masks import open_mask

COLUMNS, ROWS = 40, 30
LPS = np.diag([-1.0, -1, 1, 1])
CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "masks"


def drawing() -> np.ndarray:
    """Mask (X, Y) without any symmetry: an L and a spot, 25 + 12 + 4 pixels."""
    mask = np.zeros((COLUMNS, ROWS), bool)
    mask[5:30, 6] = mask[5, 7:19] = mask[33:35, 20:22] = True
    return mask


def save(path: Path, mask: np.ndarray, affine: np.ndarray | None, codes: bool = True) -> Path:
    if affine is None:
        Image.fromarray(mask.T.astype(np.uint8) * 255).save(path.with_suffix(".png"))
        return path.with_suffix(".png")
    image = nibabel.Nifti1Image(mask.astype(np.uint8)[:, :, None], affine)
    if not codes:
        image.set_sform(None, 0)
        image.set_qform(None, 0)
    nibabel.save(image, path.with_suffix(".nii.gz"))
    return path.with_suffix(".nii.gz")


def moved(affine: np.ndarray, *places: float) -> np.ndarray:
    """The affine of a grid whose index 0 lies at an index of another grid."""
    shift = np.eye(4)
    shift[: len(places), 3] = places
    return affine @ shift


def dice(prediction: Path, reference: Path) -> tuple[float, list[str]]:
    report = evaluate_folders(prediction, reference)
    return report["pooled"]["dice"], report["warnings"]


#: the same picture, stored otherwise: array, and the matrix from its indices to those of the picture
STORED = {
    "as it is": (lambda m: m, np.eye(4)),
    "rows upward": (lambda m: m[:, ::-1], moved(np.diag([1.0, -1, 1, 1]), 0, -(ROWS - 1))),
    "columns from the right": (lambda m: m[::-1], moved(np.diag([-1.0, 1, 1, 1]), -(COLUMNS - 1))),
    "turned by 180 degrees": (lambda m: m[::-1, ::-1], moved(np.diag([-1.0, -1, 1, 1]), 1 - COLUMNS, 1 - ROWS)),
    "axes exchanged": (lambda m: m.T, np.eye(4)[[1, 0, 2, 3]]),
    "turned by 90 degrees": (
        lambda m: m.T[::-1],
        np.array([[0.0, 1, 0, 0], [-1, 0, 0, ROWS - 1], [0, 0, 1, 0], [0, 0, 0, 1]]),
    ),
}
#: where the picture lies
PLACES = {
    "unit axes": LPS,
    "spacing": LPS @ np.diag([0.3, 0.25, 1, 1]),
    "elsewhere": moved(LPS @ np.diag([0.3, 0.3, 1, 1]), 100, -50, 7),
    "frontal plane": np.array([[-0.3, 0, 0, 5], [0, 0, 1, 2], [0, -0.3, 0, 9], [0, 0, 0, 1.0]]),
    "oblique": np.array([[-0.24, 0.18, 0, 4], [-0.18, -0.24, 0, 8], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("stored", STORED)
def test_axis_order_and_direction_are_put_right(tmp_path: Path, stored: str, place: str) -> None:
    change, matrix = STORED[stored]
    prediction = drawing()
    prediction[5:15, 6] = False  # 10 of 41 pixels missing, none false
    first = save(tmp_path / "p", prediction, PLACES[place])
    other = save(tmp_path / "r", change(drawing()), PLACES[place] @ matrix)
    assert dice(first, other) == (pytest.approx(2 * 31 / (31 + 41)), [])
    assert dice(other, first) == (pytest.approx(2 * 31 / (31 + 41)), [])


def test_frames_of_stacks_are_put_right(tmp_path: Path) -> None:
    stack = np.stack([drawing(), ~drawing(), drawing() & False], axis=-1)
    nibabel.save(nibabel.Nifti1Image(stack[:, :, None].astype(np.uint8), LPS), tmp_path / "a.nii")
    affine = LPS @ STORED["rows upward"][1]
    nibabel.save(nibabel.Nifti1Image(stack[:, ::-1, None].astype(np.uint8), affine), tmp_path / "b.nii")
    assert [row["dice"] for row in evaluate_folders(tmp_path / "a.nii", tmp_path / "b.nii")["images"]] == [1, 1, 1]


def test_pixels_count_where_a_file_states_no_place(tmp_path: Path) -> None:
    first = save(tmp_path / "p", drawing(), LPS)
    assert dice(first, save(tmp_path / "r", drawing(), None)) == (1, [])
    # NIfTI with neither qform nor sform code: what stands in its affine is a default.
    assert dice(first, save(tmp_path / "s", drawing(), np.diag([-1.0, 1, 1, 1]), codes=False)) == (1, [])


PLAIN_MHA = "ObjectType = Image\nNDims = 2\nDimSize = 40 30\nElementType = MET_UCHAR\n"
PLAIN_NRRD = "NRRD0004\ntype: uchar\ndimension: 2\nsizes: 40 30\nencoding: raw\n"


@pytest.mark.parametrize(
    ("name", "header", "placed"),
    [
        ("a.nrrd", f"{PLAIN_NRRD}\n", False),
        ("a.nrrd", f"{PLAIN_NRRD}spacings: 0.3 0.3\n\n", False),
        ("a.nrrd", f"{PLAIN_NRRD}space dimension: 2\nspace directions: (0.3,0) (0,0.3)\n\n", True),
        ("a.nrrd", f"{PLAIN_NRRD}space dimension: 2\nspace directions: (nan,0) (0,0.3)\n\n", False),
        ("a.mha", f"{PLAIN_MHA}ElementDataFile = LOCAL\n", False),
        ("a.mha", f"{PLAIN_MHA}ElementSpacing = 0.3 0.3\nElementDataFile = LOCAL\n", False),
        ("a.mha", f"{PLAIN_MHA}Offset = 3 4\nElementDataFile = LOCAL\n", True),
        ("a.mha", f"{PLAIN_MHA}TransformMatrix = 1 0 0 1\nElementDataFile = LOCAL\n", True),
    ],
)
def test_which_headers_state_a_place(tmp_path: Path, name: str, header: str, placed: bool) -> None:
    """A spacing alone is none: nobody knows where the axes go."""
    (tmp_path / name).write_bytes(header.encode() + drawing().T.astype(np.uint8).tobytes())
    opened = open_mask(tmp_path / name)
    assert (opened.affine is not None) == placed
    assert np.array_equal(opened.frame(0), drawing())
    opened.close()


@pytest.mark.parametrize("ending", ["nrrd", "mha", "nii.gz"])
def test_formats_meet_in_space(tmp_path: Path, ending: str) -> None:
    """What SimpleITK writes, with rows upward, against NIfTI."""
    image = SimpleITK.GetImageFromArray(drawing().T[::-1].astype(np.uint8)[None])
    image.SetSpacing((0.3, 0.25, 1))
    image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, 1))
    image.SetOrigin((4, 5 + 0.25 * (ROWS - 1), 6))
    SimpleITK.WriteImage(image, str(tmp_path / f"p.{ending}"))
    affine = np.array([[-0.3, 0, 0, -4], [0, -0.25, 0, -5], [0, 0, 1, 6], [0, 0, 0, 1]])
    assert dice(tmp_path / f"p.{ending}", save(tmp_path / "r", drawing(), affine)) == (1, [])


def test_turned_file_against_one_without_place_is_said(tmp_path: Path) -> None:
    change, matrix = STORED["rows upward"]
    turned = save(tmp_path / "p", change(drawing()), LPS @ matrix)
    value, warnings = dice(turned, save(tmp_path / "r", drawing(), None))
    assert value < 0.5 and len(warnings) == 1
    assert "p.nii.gz: its axes run otherwise than a picture's" in warnings[0] and "r.png" in warnings[0]


@pytest.mark.parametrize("spacing", [1.0, 0.3])
def test_default_axes_of_nibabel_state_no_place(tmp_path: Path, spacing: float) -> None:
    """``Nifti1Image(mask, np.eye(4))`` says right and anterior where pixels run to the left and the back."""
    first = save(tmp_path / "p", drawing(), LPS @ np.diag([spacing, spacing, 1, 1]))
    value, warnings = dice(first, save(tmp_path / "r", drawing(), np.eye(4)))
    assert value == 1 and len(warnings) == 1 and "state no place" in warnings[0]


def test_label_map_cut_to_its_content(tmp_path: Path) -> None:
    """As 3D Slicer stores segmentations. Either side may be cut; the rest counts as background."""
    whole = save(tmp_path / "p", drawing(), PLACES["spacing"])
    part = save(tmp_path / "r", drawing()[5:35, 6:22], moved(PLACES["spacing"], 5, 6))
    for pair in ((whole, part), (part, whole)):
        value, warnings = dice(*pair)
        assert value == 1 and len(warnings) == 1 and "r.nii.gz: covers a part of" in warnings[0]
    more = drawing()
    more[0, 0:9] = True  # outside of the part
    assert dice(save(tmp_path / "m", more, PLACES["spacing"]), part)[0] == pytest.approx(2 * 41 / (41 + 50))


@pytest.mark.parametrize("corner", [True, False], ids=["corners meet", "first centres meet"])
def test_other_spacing_is_compared_by_nearest_neighbours(tmp_path: Path, corner: bool) -> None:
    coarse = np.diag([-0.6, -0.6, 1, 1.0])
    fine = coarse @ np.diag([0.5, 0.5, 1, 1])
    fine = moved(fine, -0.5, -0.5) if corner else fine
    twice = drawing().repeat(2, axis=0).repeat(2, axis=1)
    first, second = save(tmp_path / "p", twice, fine), save(tmp_path / "r", drawing(), coarse)
    value, warnings = dice(first, second)
    assert value == 1
    assert len(warnings) == 1
    assert "80 x 60 pixels of 0.3 x 0.3 mm, compared by nearest neighbours" in warnings[0]
    assert "40 x 30 pixels of 0.6 x 0.6 mm" in warnings[0]
    # Centres of the fine grid then lie between two of the coarse one.
    assert dice(second, first)[0] == (1 if corner else pytest.approx(0.5))
    assert warnings[0] in format_report(evaluate_folders(first, second))


@pytest.mark.parametrize(
    ("affine", "text"),
    [
        (moved(PLACES["spacing"], 100, 0), "at another place"),
        (moved(PLACES["spacing"], 3, 0), "at another place"),
        (moved(PLACES["spacing"], 0, 0, 5), "in another plane"),
        (PLACES["frontal plane"], "in another plane"),
        (PLACES["oblique"], "at another place"),
        (PLACES["spacing"] @ np.diag([2.0, 2, 1, 1]), "at another place"),
        (moved(LPS, 7, 3), "at another place"),
    ],
)
def test_other_places_are_refused(tmp_path: Path, affine: np.ndarray, text: str) -> None:
    first = save(tmp_path / "p", drawing(), PLACES["spacing"])
    second = save(tmp_path / "r", drawing(), affine)
    with pytest.raises(DataError, match=rf"p\.nii\.gz: lies {text} .*r\.nii\.gz: R -11\.85 to 0\.15, A -7\.375 to"):
        evaluate_folders(first, second)
    with pytest.raises(DataError, match=rf"lies {text}"):
        evaluate_folders(second, first)


def test_single_precision_is_exact_enough(tmp_path: Path) -> None:
    affine = moved(LPS @ np.diag([0.3078, 0.3078, 1, 1]), 611.3, 420.7)
    change, matrix = STORED["turned by 180 degrees"]
    first = save(tmp_path / "p", drawing(), affine.astype(np.float32))
    second = save(tmp_path / "r", change(drawing()), (affine @ matrix).astype(np.float32) + 1e-4)
    assert dice(first, second) == (1, [])


@pytest.mark.skipif(not CASES.is_dir(), reason="the reported cases (shared/cases) are not on this machine")
def test_reported_case() -> None:
    assert dice(CASES / "pred.nii.gz", CASES / "ref_same_place_other_axis_order.nii.gz") == (1, [])
    assert dice(CASES / "pred.nii.gz", CASES / "ref.png") == (1, [])
