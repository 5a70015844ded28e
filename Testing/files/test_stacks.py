"""Masks and maps that wait for each other, in memory or on the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from casr_net.files import stacks
from casr_net.files.maps import write_map
from casr_net.files.stacks import Stack, drop_pages
from casr_net.files.volumes import open_volume


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("ending", [".nrrd", ".nii.gz"])
def test_stack_keeps_every_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_disk: bool, dtype: type, ending: str
) -> None:
    maps = np.random.default_rng(1).integers(0, 2, (3, 50, 40)).astype(dtype)
    # A limit between the bytes of a mask and of a map would put the latter alone on the disk.
    monkeypatch.setattr(stacks, "STACK_IN_MEMORY", maps.nbytes - on_disk)
    stack = Stack("cine", [4, 7, 9], (50, 40), dtype)
    assert isinstance(stack.masks, np.memmap) == on_disk and stack.masks.dtype == dtype
    assert [stack.put(frame, image) for frame, image in zip((9, 4, 7), maps, strict=True)] == [False, False, True]
    wanted = maps[[1, 2, 0]]
    assert (np.stack([stack[frame] for frame in stack]) == wanted).all()
    path = tmp_path / f"map{ending}"
    write_map(path, stack.whole, np.diag([-1.0, -1, 1, 1]))
    assert (stack.whole.transpose(2, 0, 1) == wanted).all(), "writing has changed nothing"
    source = open_volume(path).source
    assert source.dtype == dtype and all((source.frame(place)[0] == wanted[place]).all() for place in range(3))
    source.close()


def test_pages_that_are_in_the_memory_alone_stay(tmp_path: Path) -> None:
    np.arange(10_000, dtype=np.int32).tofile(tmp_path / "values")
    private = np.memmap(tmp_path / "values", np.int32, "c")
    private[:] = 7
    for array in (private, private[5:].reshape(-1, 5).T, np.full(10, 7)):
        drop_pages(array)
        assert (array == 7).all()
    shared = np.memmap(tmp_path / "values", np.int32, "r+")
    shared[3] = 99
    drop_pages(shared[1:])
    assert shared[3] == 99 and shared[4] == 4
