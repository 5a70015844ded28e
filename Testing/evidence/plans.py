"""Plans with a network of a few hundred weights, so that whole runs take seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NETWORK = {"_target_": "BasicUNet", "spatial_dims": 2, "out_channels": 1, "features": [2, 2, 2, 2, 2, 2]}
SETTINGS: dict[str, Any] = {"network_def": {**NETWORK, "in_channels": 3}, "network_size": 64}
SMALL = {"crop_size": [32, 32], "batch_size": 2, "ema_decay": 0.8, "clip_norm": 1.0, "learning_rate": 0.01}


def training(name: str, images: int = 8, **changes: Any) -> dict[str, Any]:
    """An entry of the plan: one stage, two epochs."""
    stage = {"name": "crops", "images": images, "epoch_images": 4, "settings": SMALL}
    return {"name": name, "purpose": f"test of {name}", "settings": SETTINGS, "stages": [stage], **changes}


def write_plan(path: Path, *runs: dict[str, Any], **more: Any) -> Path:
    path.write_text(json.dumps({"runs": runs, **more}))
    return path
