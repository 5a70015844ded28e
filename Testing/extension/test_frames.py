"""Conversion of arrays: numpy alone."""

from __future__ import annotations

import numpy as np
import pytest
from CASRSegmentationLib import frames
from CASRSegmentationLib.frames import FrameError, Orientation
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from casr_net.files import images


def matrix(*columns: tuple[float, float, float]) -> np.ndarray:
    result = np.eye(4)
    result[:3, :3] = np.array(columns).T
    return result


AXIAL = {
    "picture or XA": ((-0.3, 0, 0), (0, -0.3, 0), False, False),
    "numpy": ((1, 0, 0), (0, 1, 0), True, True),
    "rows up": ((-1, 0, 0), (0, 1, 0), True, False),
    "columns mirrored": ((1, 0, 0), (0, -1, 0), False, True),
    "not square": ((-0.2, 0, 0), (0, -0.7, 0), False, False),
}


@pytest.mark.parametrize(("column", "row", "flip_rows", "flip_columns"), AXIAL.values(), ids=AXIAL.keys())
def test_orientation_of_axial_images(column, row, flip_rows, flip_columns):
    assert Orientation.from_matrix(matrix(column, row, (0, 0, 1))) == Orientation(flip_rows, flip_columns, "")


def test_oblique_image_takes_the_nearest_position_and_says_so():
    angle = np.deg2rad(25)
    turned = matrix((-np.cos(angle), -np.sin(angle), 0), (np.sin(angle), -np.cos(angle), 0), (0, 0, 1))
    found = Orientation.from_matrix(turned)
    assert (found.flip_rows, found.flip_columns) == (False, False) and "oblique" in found.note


def test_permuted_axes_are_used_as_they_are_and_said():
    found = Orientation.from_matrix(matrix((0, 1, 0), (1, 0, 0), (0, 0, 1)))
    assert (found.flip_rows, found.flip_columns) == (False, False) and "as they are" in found.note
    assert Orientation.from_matrix(matrix((0, 0, 1), (0, -1, 0), (1, 0, 0))).note


@given(st.booleans(), st.booleans(), arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2)))
def test_there_and_back(rows, columns, array):
    turn = Orientation(rows, columns)
    shown = turn.to_display(array)
    assert (turn.from_display(shown) == array).all() and shown.flags.c_contiguous and shown.base is None
    assert shown[0, 0] == array[-1 if rows else 0, -1 if columns else 0]


def test_luminance_is_that_of_the_bundle():
    color = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    from PIL import Image

    assert np.abs(frames.luminance(color).astype(int) - np.asarray(Image.fromarray(color).convert("L"), int)).max() <= 1
    alpha = np.concatenate([color, np.zeros((5, 7, 1), np.uint8)], axis=-1)
    assert (frames.luminance(alpha) == frames.luminance(color)).all()


def test_luminance_keeps_the_type():
    assert frames.luminance(np.full((2, 2, 3), 60000, np.uint16)).tolist() == [[60000] * 2] * 2
    assert frames.luminance(np.ones((2, 2, 3), np.float64)).dtype == np.float64
    with pytest.raises(FrameError, match="2 components"):
        frames.luminance(np.zeros((4, 4, 2), np.uint8))


@pytest.mark.parametrize(
    ("given_type", "wanted"),
    [
        ("u1", "u1"),
        ("u2", "u2"),
        ("i2", "i2"),
        ("i1", "i2"),
        ("i4", "f4"),
        ("u4", "f4"),
        ("i8", "f4"),
        ("f8", "f4"),
        ("f4", "f4"),
    ],
)
def test_type_for_the_network(given_type, wanted):
    frame = np.arange(100, dtype=given_type).reshape(10, 10)
    result = frames.network_dtype(frame)
    assert result.dtype == np.dtype(wanted) and (result == frame).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_values_that_are_not_finite_are_refused(value):
    frame = np.zeros((4, 4))
    frame[1, 2] = value
    with pytest.raises(FrameError, match="not finite"):
        frames.network_dtype(frame)


def test_other_types_are_refused():
    with pytest.raises(FrameError, match="bool"):
        frames.network_dtype(np.zeros((4, 4), bool))


@pytest.mark.parametrize("kind", ["u1", "u2", "i2", "f4"])
def test_inversion_turns_the_order_and_loses_nothing(kind):
    frame = np.array([[0, 3, 7, 100]], kind)
    turned = frames.invert(frame)
    assert turned.dtype == frame.dtype and (np.argsort(turned[0]) == [3, 2, 1, 0]).all()
    assert (frames.invert(turned) == frame).all()


def test_limits_are_those_of_the_bundle():
    assert (frames.MIN_SIDE, frames.MAX_SIDE) == (images.MIN_SIDE, images.MAX_SIDE)
    frames.checked_size(32, 4096, "x")
    for size in ((31, 100), (100, 4097)):
        with pytest.raises(FrameError, match=r"^cine 3: .* has 32 to 4096"):
            frames.checked_size(*size, "cine 3")
