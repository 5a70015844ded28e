"""MONAI without what segmenting does not need of it: memory and time of the start."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["import_monai"]

NOT_NEEDED = frozenset({"matplotlib", "pandas", "scipy.optimize", "scipy.signal", "tensorboard"})
"""Optional packages that MONAI imports, where they are installed, for plots, CSV files, metrics and signals. They take
0.13 GB and a second of processor time."""


READERS = frozenset({"PIL", "itk", "nibabel", "nrrd", "pydicom"})
"""Further ones, for MONAI's readers of files."""


def import_monai(read: bool = True) -> None:
    """Import MONAI as if those packages were not installed. For a process that only segments: what MONAI does with them
    is missing in it from then on; the packages themselves are not.

    Args:
        read: False: MONAI reads no files either.
    """
    with _hidden(NOT_NEEDED if read else NOT_NEEDED | READERS):
        import monai  # noqa: F401


@contextmanager
def _hidden(names: frozenset[str]) -> Iterator[None]:
    finder = _Hiding(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Hiding(MetaPathFinder):
    """Lets packages seem to be missing."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not self._names.isdisjoint((fullname, fullname.partition(".")[0])):
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None
