"""What runtimes keep between runs (converted networks, measured choices, plans), as ``casr doctor`` tells it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["clear", "told"]


def told() -> list[dict[str, Any]]:
    """Folder, number of files and bytes of each place; nothing where packages that tell are missing."""
    try:
        from ..inference.runtimes.cleaning import kept_files

        return [_sum(folder, kept_files(folder)) for folder in _folders()]
    except ImportError:
        return []


def clear(weights: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Remove it.

    Args:
        weights: files beside which it is removed, too.

    Returns:
        folder, files and bytes that were removed, of each place.
    """
    from ..inference.runtimes import cleaning

    return [_sum(folder, cleaning.clear(folder)) for folder in _folders(weights)]


def _folders(weights: Sequence[str] = ()) -> list[Path]:
    from ..inference.bundle import bundle_root
    from ..inference.runtimes.store import store_folder

    shipped = bundle_root() / "models" / "model.pt"
    return list(dict.fromkeys(store_folder(path) for path in (shipped, None, *weights)))


def _sum(folder: Path, files: Sequence[Any]) -> dict[str, Any]:
    return {"folder": str(folder), "files": len(files), "bytes": sum(file.size for file in files)}
