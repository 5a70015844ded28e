"""Who segments the files of a run, and the optional package of the second."""

from __future__ import annotations

import importlib.util

from ..errors import UsageError

__all__ = ["ENGINES", "require_ray"]

ENGINES = ("local", "ray")
"""This process, or a pool of processes on this computer or several."""


def require_ray() -> None:
    """Refuse the engine where Ray is missing; nothing is imported.

    Raises:
        UsageError: naming the extra to install.
    """
    missing = [name for name in ("ray", "pyarrow", "pandas") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"--engine ray: {' and '.join(missing)} not installed; pip install 'casr-net[ray]' brings "
            f"{'it' if len(missing) == 1 else 'them'}."
        )
