"""Pack what a machine with an accelerator has trained, in files small enough to bring back, and unpack it here.

python experiments/accelerator/collect.py pack --state STATE --target FOLDER UNIT...          # there
python experiments/accelerator/collect.py unpack --source FOLDER --state STATE [--results RESULTS]   # here

Weights travel in half precision, with --int8 in 8 bits a channel, in parts below 16 MiB; beside them what a unit needs
to be evaluated here: configurations, what was seen, what has been evaluated there; and results, where there are any.
Of a unit that was not finished the last finished stage comes back, and the runner goes on from it here.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tarfile
from pathlib import Path

import torch
from monai.bundle import ConfigParser

from casr_net.network.weights import load_weights, save_weights

PART = 16_000_000  # bytes
NOTES = ("*.jsonl", "*/config.json", "*/resident.json")


def pack(state: Path, target: Path, units: list[str], small: bool, results: Path | None) -> None:
    """Weights in parts, and all notes as one archive."""
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target / "notes.tar.xz", "w:xz") as archive:
        for folder in sorted(path for path in state.iterdir() if path.is_dir() and path.name != "resident"):
            for pattern in (*NOTES, "*.log"):
                for path in sorted(folder.glob(pattern)):
                    archive.add(path, f"state/{path.relative_to(state)}")
        if results is not None:
            for path in sorted(results.glob("*.json")):
                archive.add(path, f"results/{path.name}")
    for unit in units:
        made, name = state / unit / "model.pt", unit
        if not made.is_file():
            stages = sorted((state / unit).glob("*/model.pt"), key=lambda path: path.stat().st_mtime)
            if not stages:
                print(f"{unit}: not trained.")
                continue
            made, name = stages[-1], f"{unit}.{stages[-1].parent.name}"
        config = max((state / unit).glob("*/config.json"), key=lambda path: path.stat().st_mtime)
        parser = ConfigParser({**json.loads(config.read_text(encoding="utf-8")), "pretrained": None})
        network = load_weights(parser.get_parsed_content("network_def"), made)
        packed = save_weights(network, target / f"{name}.pt", torch.int8 if small else torch.float16)
        content = packed.read_bytes()
        packed.unlink()
        for number, start in enumerate(range(0, len(content), PART)):
            (target / f"{name}.pt.{number}").write_bytes(content[start : start + PART])
        print(f"{name}: {len(content) / 2**20:.1f} MiB.")


def unpack(source: Path, state: Path, results: Path | None) -> None:
    """Weights and notes into the state; a stage without weights of its own gets the final ones, which end it."""
    for archive in sorted(source.glob("notes*.tar.xz")):
        with tarfile.open(archive) as stream:
            stream.extractall(source / "notes", filter="data")
    for first in sorted(source.glob("*.pt.0")):
        name = first.name.removesuffix(".pt.0")
        unit, _, stage = name.partition(".")
        notes = source / "notes" / "state" / unit
        if notes.is_dir():
            shutil.copytree(notes, state / unit, dirs_exist_ok=True)
        made = state / unit / stage / "model.pt"
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(b"".join(path.read_bytes() for path in sorted(source.glob(f"{name}.pt.*"))))
        done = sorted((state / unit).glob("*/resident.json"), key=lambda path: path.stat().st_mtime)
        for note in done:  # a stage that has been made has weights; here the last ones stand for all of them
            if not note.with_name("model.pt").exists():
                note.with_name("model.pt").hardlink_to(made)
        print(f"{name}: {made.stat().st_size / 2**20:.1f} MiB.")
    if results is not None:
        for path in (source / "notes" / "results").glob("*.json"):
            if not (results / path.name).exists():
                shutil.copyfile(path, results / path.name)
                print(f"{path.name}: a result.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("pack", "unpack"))
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--target", type=Path, help="of pack: a folder")
    parser.add_argument("--source", type=Path, help="of unpack: the folder with what pack has made")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("units", nargs="*")
    options = parser.parse_intermixed_args()
    if options.action == "pack":
        pack(options.state, options.target, options.units, options.int8, options.results)
    else:
        unpack(options.source, options.state, options.results)


if __name__ == "__main__":
    main()
