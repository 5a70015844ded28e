"""Data packed for another machine and unpacked there: the same lists, the same own images to the last bit."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

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
