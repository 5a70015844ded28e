from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from casr_net.errors import DataError
from casr_net.network import sha256
from casr_net.training import load_cases

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "experiments")
    return importlib.import_module("release")


@pytest.fixture
def trained(random_weights: Path, tmp_path: Path) -> Path:
    """Single precision, as a training leaves it."""
    path = tmp_path / "state" / "a-all" / "model.pt"
    path.parent.mkdir(parents=True)
    state = torch.load(random_weights, weights_only=True)
    torch.save({name: v.float() if v.is_floating_point() else v for name, v in state.items()}, path)
    return path


def test_unit_is_packed_and_checked(module: Any, trained: Path, synthetic_set: Path, tmp_path: Path) -> None:
    result = {"plan": {"network": [], "settings": {"network_size": 64}}, "weights_sha256": sha256(trained)}
    result |= dict.fromkeys(("name", "purpose", "fold", "seed", "images_seen", "config_sha256", "usage"), "x")
    (tmp_path / "a-all.json").write_text(json.dumps(result))
    target = tmp_path / "ships" / "model.pt"
    options = ["a-all", "--data", str(synthetic_set), "--images", "2", "--state", str(tmp_path / "state"), "--results",
               str(tmp_path), "--records", str(tmp_path), "--target", str(target)]  # fmt: skip
    assert module.main(options) == 0
    record = json.loads((tmp_path / "release_model.json").read_text())
    assert record["sha256"] == sha256(target) and record["source_sha256"] == sha256(trained)
    assert record["bytes"] == target.stat().st_size < 0.6 * trained.stat().st_size
    assert max(map(abs, record["change"].values())) <= 0.0005 and len(record["images"]) == 2
    packed = torch.load(target, weights_only=True)
    assert packed["head.weight"].dtype == torch.float16
    (tmp_path / "a-all.json").write_text(json.dumps({**result, "weights_sha256": "0" * 64}))
    with pytest.raises(DataError, match="the result of a-all names 000000000000"):
        module.main(options)
    with pytest.raises(DataError, match=r"b-all: .*the unit is not finished on this machine"):
        module.main(["b-all", *options[1:]])


def test_weights_that_change_too_much_do_not_ship(
    module: Any, trained: Path, synthetic_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases, target = load_cases(synthetic_set, limit=1), tmp_path / "model.pt"
    target.write_bytes(b"old")
    with pytest.raises(DataError, match="1000 are allowed"):
        module.release(trained, target, cases, largest=1000)
    values = iter([{"dice": 0.8, "cldice": 0.9}, {"dice": 0.8, "cldice": 0.899}])
    monkeypatch.setattr(module, "figures", lambda *_: next(values))
    with pytest.raises(DataError, match=r"packing changes cldice by -0\.00100; 0\.0005 is allowed"):
        module.release(trained, target, cases)
    assert target.read_bytes() == b"old" and not list(tmp_path.glob(".*.part"))
