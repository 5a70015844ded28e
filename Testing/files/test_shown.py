"""Values of damaged headers in messages."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.multival import MultiValue
from pydicom.uid import UID
from pydicom.valuerep import DSfloat

from casr_net.errors import shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12, "12"),
        (None, "None"),
        (np.float32(0.5), "0.5"),
        (np.array(7), "7"),
        (np.array([[1, 2], [3, 4]]), "[[1, 2], [3, 4]]"),
        ((1.5, "a"), "[1.5, 'a']"),
        ({"low": np.uint16(3)}, "{'low': 3}"),
        (UID("1.2.840"), "'1.2.840'"),
        (DSfloat("0.30"), "0.30"),
        (MultiValue(DSfloat, ["1", "2"]), "[1, 2]"),
        ("Gr\u00f6\u00dfe", "'Gr\u00f6\u00dfe'"),
        ("\x1b[31mred\r\n", r"'\x1b[31mred\r\n'"),
        ("\u202egnp.exe", r"'\u202egnp.exe'"),  # right to left: would turn the rest of the line around
        ("half \udc80", r"'half \udc80'"),
        (b"\x00\xff", r"b'\x00\xff'"),
    ],
)
def test_is_printable(value: object, text: str) -> None:
    assert shown(value) == text


def test_objects_that_print_as_they_like_are_escaped() -> None:
    class Wild:
        def __str__(self) -> str:
            return "a\nb\x07"

    assert shown(Wild()) == r"a\nb\x07"


@pytest.mark.parametrize("value", ["x" * 10_000_000, b"\x00" * 10_000_000, range(10_000_000), [["y" * 99] * 99] * 99])
def test_is_cut(value: object) -> None:
    text = shown(value)
    assert len(text) == 60 and text.endswith("...")
    assert shown(value, limit=20) == text[:17] + "..."
