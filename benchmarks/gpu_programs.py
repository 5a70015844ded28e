"""Checks of ``gpu_check.py``: a training step in half precision, the 3D Slicer extension's worker, the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from monai.bundle import ConfigParser

from casr_net.evaluation.metrics import dice
from casr_net.inference.bundle import bundle_root, config_files, load_parser
from casr_net.preprocessing.batched import BatchedChannels
from casr_net.synthetic.angiogram import make_angiogram, make_cine
from gpu_check import Check
from gpu_inference import SAME, loaded, read_grey

__all__ = ["command", "training_step", "worker"]

STEPS = 3
NEAR = 0.05
"""Most by which the first loss may differ from that in single precision, as a share of it."""

PATIENCE = 300
"""Seconds that a program may take."""


def training_step(check: Check) -> None:
    """Steps of the network, loss and optimiser of ``configs/train.json``, in its number format."""
    parser = ConfigParser()
    parser.read_config(config_files(base="train.json"))
    definition = load_parser(check.config).get()["network_def"]
    parser.update({"bundle_root": str(bundle_root()), "device": f"$torch.device('{check.device}')"})
    parser.get()["network_def"] = definition
    settings = parser.get()
    torch.manual_seed(settings["seed"])
    network, loss, optimizer = (parser.get_parsed_content(name) for name in ("network", "deep", "optimizer"))
    inferer, device = parser.get_parsed_content("train#inferer"), parser.get_parsed_content("device")
    count = min(settings["batch_size"], check.frames)
    side = min(settings["crop_size"][0], check.size)
    frames = [make_angiogram(60 + number, check.size) for number in range(count)]
    grey = torch.stack([torch.from_numpy(frame.image[:side, :side].T / 255).float()[None] for frame in frames])
    target = torch.stack([torch.from_numpy(frame.mask[:side, :side].T).float()[None] for frame in frames]).to(device)
    image = BatchedChannels(settings["channel_names"])(grey.to(device))
    image = image.contiguous(memory_format=torch.channels_last)
    network.train()
    before = [value.detach().clone() for value in network.parameters()]
    with torch.no_grad():
        plain = float(loss(network(image), target))
    losses, marks = [], []
    for _ in range(STEPS):
        mark = time.perf_counter()
        optimizer.zero_grad()
        value = loss(inferer(image, network), target)
        value.backward()
        optimizer.step()
        losses.append(float(value.detach()))
        marks.append(time.perf_counter() - mark)
    gradients = all(bool(torch.isfinite(value.grad).all()) for value in network.parameters() if value.grad is not None)
    changed = sum(not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))
    fine = bool(np.isfinite(losses).all()) and gradients and changed > len(before) // 2
    kind = "bf16" if inferer.bfloat16 else "fp32"
    check.say(
        f"training step, {kind}, {count} crops of {side} x {side}",
        f"loss {', '.join(f'{value:.4f}' for value in losses)} (single precision {plain:.4f}, at most {NEAR:.0%} off), "
        f"gradients {'finite' if gradients else 'not finite'}, {changed} of {len(before)} tensors changed, "
        f"{count / marks[-1]:.0f} crops/s",
        fine and abs(losses[0] - plain) <= NEAR * abs(plain),
        losses=losses, loss_in_single_precision=plain, crops_a_second=count / marks[-1],
    )  # fmt: skip


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A module of the package as a program of its own."""
    folders = [str(Path(bundle_root())), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    line = [sys.executable, "-m", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, env=variables, check=False)


def worker(check: Check) -> None:
    """A job of the extension: frames in a folder, masks back, messages in between."""
    folder = check.folder / "job"
    folder.mkdir()
    frames = np.stack([make_angiogram(80 + number, check.size).image for number in range(min(check.frames, 4))])
    np.save(folder / "frames.npy", frames)
    indices = list(range(len(frames)))
    (folder / "job.json").write_text(json.dumps({"indices": indices, "device": check.device}), encoding="utf-8")
    done = _run("casr_net.worker", str(folder))
    messages: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    events = {message["event"]: message for message in messages}
    segmented = [message for message in messages if message["event"] == "frame" and "error" not in message]
    if done.returncode or len(segmented) != len(frames):
        told = events.get("error", {}).get("text") or done.stderr.strip().splitlines()[-1:] or "nothing"
        check.say("worker", f"exit code {done.returncode}, {len(segmented)} of {len(frames)} frames: {told}", False)
        return
    same = _same(check, frames, [np.load(folder / f"mask_{index:05d}.npy") > 0 for index in indices])
    devices = {message["device"] for message in segmented}
    check.say(
        "worker", f"{len(frames)} frames on {', '.join(sorted(devices))} in {events['done']['seconds']:.1f} s, Dice "
        f"with the CPU's at least {min(same):.5f}",
        devices == {str(torch.device(check.device))} and min(same) >= SAME, dice=same,
    )  # fmt: skip


def _same(check: Check, frames: np.ndarray, masks: list[np.ndarray]) -> list[float]:
    segmenter = loaded(check, "cpu")
    return [dice(mask, segmenter.frame(frame).mask) for mask, frame in zip(masks, frames, strict=True)]


def command(check: Check) -> None:
    """``casr segment`` of a cine, in batches."""
    source, out = check.folder / "cine.tif", check.folder / "out"
    count = 4 * check.frames
    frames = np.stack([frame.image for frame in make_cine(11, check.frames, check.size)] * 4)
    tifffile.imwrite(source, frames, photometric="minisblack")
    single = check.folder / "single.json"  # a rehearsal too: half precision is no question of this check
    single.write_text('{"precision": "fp32"}', encoding="utf-8")
    overlays = [part for overlay in [*check.config, str(single)] for part in ("--config", overlay)]
    done = _run(
        "casr_net.cli", "segment", str(source), "--output", str(out), "--device", check.device, "--runtime", "torch",
        *overlays,
    )  # fmt: skip
    paths = sorted(out.glob("*_mask.png"))
    if done.returncode or len(paths) != count:
        told = done.stderr.strip().splitlines()[-1:] or ["nothing"]
        check.say("casr segment", f"exit code {done.returncode}, {len(paths)} of {count} masks: {told[0]}", False)
        return
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))["runs"][-1]
    masks = [read_grey(path) > 0 for path in paths[:2]]
    same = _same(check, frames[:2], masks)
    check.say(
        "casr segment", f"{count} frames on {run['device']} in {run['seconds']['total']:.1f} s after the start, "
        f"{count / run['seconds']['total']:.0f} a second; Dice with the CPU's at least {min(same):.5f}",
        run["device"] == str(torch.device(check.device)) and min(same) >= SAME,
        frames_a_second=count / run["seconds"]["total"], seconds=run["seconds"],
    )  # fmt: skip
