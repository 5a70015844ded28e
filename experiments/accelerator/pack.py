"""Data for a machine with an accelerator and without the sets, as two folders small enough to send.

python experiments/accelerator/pack.py --data ../shared/data --target FOLDER [--unlabelled 350] [--lossless 0 1]

FOLDER/own: ica_nj, the folds named by --lossless as lossless WebP, the others as WebP of quality 87: only networks that
hold out one of the former can be evaluated there. FOLDER/more: dca1 and all lists as they are; of ARCADE the val images
as they are (all, or those with a stenosis alone) and the train images as WebP of quality 70, with so many of those
without a mask. unpack.py makes a data folder of them; what is in which folder does not matter to it.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from pathlib import Path
from typing import Any

from PIL import Image

QUALITY = 70
OWN_QUALITY = 87


def _write(source: Path, target: Path, **options: Any) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        image.convert("L").save(target.with_suffix(".webp"), "WEBP", **options)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--unlabelled", type=int, default=350)
    parser.add_argument("--lossless", type=int, nargs="*", default=list(range(5)), metavar="FOLD")
    parser.add_argument("--val", choices=("all", "stenoses"), default="all")
    options = parser.parse_args()
    data, own, more = options.data, options.target / "own", options.target / "more"
    with open(data / "cases.csv", newline="", encoding="utf-8") as stream:
        folds = {row["file"]: int(row["fold"]) for row in csv.DictReader(stream) if row["dataset"] == "ica_nj"}
    for kind in ("images", "masks"):
        for path in sorted((data / "ica_nj" / kind).iterdir()):
            exact = kind == "masks" or folds[path.name] in options.lossless
            _write(
                path, own / "ica_nj" / kind / path.name, lossless=exact, quality=90 if exact else OWN_QUALITY, method=5
            )
    shutil.copytree(data / "dca1", more / "dca1", dirs_exist_ok=True)
    _copy(data / "cases.csv", more / "cases.csv")
    _copy(data / "arcade" / "stenoses.csv", more / "arcade" / "stenoses.csv")
    with open(data / "arcade" / "cases.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    with open(data / "arcade" / "stenoses.csv", newline="", encoding="utf-8") as stream:
        narrowed = {row["file"] for row in csv.DictReader(stream)}
    bare = [row for row in rows if row["split"] == "train" and row["labelled"] == "no"]
    step = max(1, len(bare) // max(options.unlabelled, 1))
    dropped = {row["file"] for i, row in enumerate(bare) if i % step or i // step >= options.unlabelled}
    rows = [row for row in rows if row["file"] not in dropped]
    for row in rows:
        path = data / "arcade" / "images" / row["file"]
        if row["split"] == "train":
            _write(path, more / "arcade" / "webp" / path.name, quality=QUALITY, method=4)
        elif row["file"] in narrowed or (options.val == "all" and row["labelled"] != "no"):
            _copy(path, more / "arcade" / "images" / path.name)
        if row["labelled"] != "no" and (row["split"] == "train" or options.val == "all"):
            mask = f"{path.stem}.png"
            _copy(data / "arcade" / "masks" / mask, more / "arcade" / "masks" / mask)
    with open(more / "arcade" / "cases.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for folder in (own, more):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{folder}: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
