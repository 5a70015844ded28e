"""Data packed for another machine and unpacked there: the same lists, the same own images to the last bit."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from casr_net.network import load_weights, save_weights
from casr_net.training import load_cases, load_split
from casr_net.training.memory import load_partial

SCRIPTS = Path(__file__).resolve().parents[2] / "experiments" / "accelerator"


def test_packed_and_unpacked(data: Path, tmp_path: Path) -> None:
    source, packed, target = tmp_path / "data", tmp_path / "packed", tmp_path / "there"
    shutil.copytree(data, source)
    for name in ("ica_nj", "dca1"):
        shutil.copytree(data / "synthetic", source / name)
    for dataset in ("ica_nj", "dca1"):  # two lists as one
        table = source / "cases.csv"
        head, *rows = (data / "cases.csv").read_text().splitlines()
        other = table.read_text().splitlines()[1:] if dataset == "dca1" else []
        table.write_text("\n".join([head, *other, *(row.replace("synthetic", dataset) for row in rows)]) + "\n")
    run = [sys.executable, str(SCRIPTS / "pack.py"), "--data", str(source), "--target", str(packed)]
    subprocess.run([*run, "--unlabelled", "1"], check=True, capture_output=True)
    parts = [str(packed / "own"), str(packed / "more")]
    run = [sys.executable, str(SCRIPTS / "unpack.py"), "--source", *parts, "--target", str(target)]
    subprocess.run(run, check=True, capture_output=True)
    there, here = load_cases(target), load_cases(source)
    assert [case["name"] for case in there] == [case["name"] for case in here]
    for mine, theirs in zip(here, there, strict=True):
        for key in ("image", "label"):
            first, second = (cv2.imread(case[key], cv2.IMREAD_GRAYSCALE) for case in (mine, theirs))
            assert np.array_equal(first, second), theirs[key]
    assert len(load_partial(target / "arcade")) == 3 and len(load_split(target / "arcade", "val")) == 2
    for case, other in zip(load_partial(source / "arcade"), load_partial(target / "arcade"), strict=True):
        first, second = (cv2.imread(one["image"], cv2.IMREAD_GRAYSCALE).astype(int) for one in (case, other))
        assert np.abs(first - second).mean() < 8


def test_weights_come_back_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    collect = importlib.import_module("collect")
    monkeypatch.setattr(collect, "PART", 20_000)
    there, here, parts = tmp_path / "there", tmp_path / "here", tmp_path / "parts"
    definition = {"_target_": "Conv2d", "in_channels": 64, "out_channels": 64, "kernel_size": 3}
    (there / "a-fold0" / "s0").mkdir(parents=True)
    config = {"network_def": {**definition, "_target_": "torch.nn.Conv2d"}}
    (there / "a-fold0" / "s0" / "config.json").write_text(json.dumps(config))
    (there / "a-fold0" / "s0" / "resident.json").write_text("{}")
    (there / "a-fold0" / "usage.jsonl").write_text("{}\n")
    shutil.copytree(there / "a-fold0", there / "c-fold0")
    network = torch.nn.Conv2d(64, 64, 3)
    save_weights(network, there / "a-fold0" / "model.pt", torch.float32)
    results = tmp_path / "results"
    results.mkdir()
    (results / "b-fold0.json").write_text("{}")
    save_weights(network, there / "c-fold0" / "s0" / "model.pt", torch.float32)  # no last stage: it was cut off
    collect.pack(there, parts, ["a-fold0", "c-fold0", "d-fold0"], False, results)
    assert len(list(parts.glob("a-fold0.pt.*"))) > 2 and max(p.stat().st_size for p in parts.iterdir()) <= 20_000
    (tmp_path / "results_here").mkdir()
    collect.unpack(parts, here, tmp_path / "results_here")
    back = load_weights(torch.nn.Conv2d(64, 64, 3), here / "a-fold0" / "model.pt")
    assert torch.allclose(back.weight, network.weight, atol=1e-3)
    assert (here / "a-fold0" / "s0" / "model.pt").is_file() and (here / "a-fold0" / "usage.jsonl").is_file()
    assert (tmp_path / "results_here" / "b-fold0.json").is_file()
    assert (here / "c-fold0" / "s0" / "model.pt").is_file() and not (here / "c-fold0" / "model.pt").exists()
    assert not (here / "d-fold0").exists()
