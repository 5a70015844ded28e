"""Names of files, and writing whatever the name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casr_net.errors import DataError
from casr_net.files.atomic import write_atomically
from casr_net.files.names import KINDS, as_text, is_result, plain_stem, result_name, split_result, suffix


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.png", "a"),
        ("x.nii.gz", "x"),
        ("I0001.XA", "I0001"),
        ("run2.dic", "run2"),
        ("1.2.840.113", "1.2.840.113"),
        ("1.2.840.113.dcm", "1.2.840.113"),
        ("patient.2024a", "patient.2024a"),
        ("IM0001", "IM0001"),
        ("E02.Nii", "E02"),
    ],
)
def test_stems(name: str, stem: str) -> None:
    assert plain_stem(name) == stem


@given(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1).filter(
        lambda text: split_result(text) is None and "_f" not in text
    ),
    st.none() | st.integers(0, 20_000),
    st.sampled_from(KINDS),
    st.sampled_from(["png", "nrrd", "nii.gz"]),
)
def test_names_of_results_are_read_back(source: str, frame: int | None, kind: str, ending: str) -> None:
    name = result_name(source, frame, kind, ending)
    assert suffix(name) == f".{ending}"
    assert split_result(name.removesuffix(f".{ending}")) == (source, frame, kind)


def test_results_are_told_by_their_names() -> None:
    assert all(map(is_result, ["a_mask.png", "run1_f0007_probability.png", "b_overlay.png", "x_mask.nii.gz"]))
    assert not any(map(is_result, ["mask.png", "_mask.png", "a_mask1.png", "a.png", "x_masks.nrrd"]))


def test_bytes_of_names_become_text() -> None:
    assert as_text(os.fsdecode(b"caf\xe9/\xc3\xa9.png")) == "caf\\xe9/é.png"
    assert as_text("\ud800") == "\\ud800"


@pytest.mark.parametrize(
    "name", ["a" * 251 + ".png", os.fsdecode(b"caf\xe9.png"), "a." + "b" * 250, "冠" * 80 + ".png"]
)
def test_every_legal_name_can_be_written(tmp_path: Path, name: str) -> None:
    seen: list[str] = []
    write_atomically(tmp_path / name, lambda path: seen.append(path.name) or path.write_bytes(b"x"))
    assert os.listdir(tmp_path) == [name]
    assert len(seen[0]) < 60 and seen[0].isascii()
    assert suffix(seen[0]) == (suffix(name) if len(suffix(name)) < 10 else "")


def test_an_impossible_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written: File name too long"):
        write_atomically(tmp_path / ("a" * 256), lambda path: path.write_bytes(b"x"))
    assert os.listdir(tmp_path) == []
