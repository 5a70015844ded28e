"""Tables of what a result is worth: mirrored inference, calibration, quality score, robustness, centre lines of ARCADE.

Each is made from one JSON of experiments/results, and is "not run yet" where that is missing.
"""

from __future__ import annotations

import json
from typing import Any

from evidence_differences import RESULTS

Part = tuple[str, list[str]]


def load(name: str) -> dict[str, Any] | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def trust_tables() -> list[Part]:
    """Title and lines of each part."""
    return []
