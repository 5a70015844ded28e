"""A data folder of what pack.py made.

python experiments/accelerator/unpack.py --source FOLDER/own FOLDER/more --target DATA

Images become PNG, under the names that the lists give them (files are opened by their content, not their name).
"""

from __future__ import annotations

import argparse
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2


def _convert(job: tuple[Path, Path]) -> None:
    source, target = job
    image = cv2.imread(str(source), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise SystemExit(f"{source}: cannot be read.")
    _, content = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    target.write_bytes(content.tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, nargs="+", required=True)
    parser.add_argument("--target", type=Path, required=True)
    options = parser.parse_args()
    jobs = []
    for source in options.source:
        for path in sorted(source.rglob("*")):
            if not path.is_file():
                continue
            target = options.target / path.relative_to(source)
            if path.suffix == ".webp":
                arcade = path.parent.name == "webp"
                folder = target.parent.parent / "images" if arcade else target.parent
                target = folder / f"{path.stem}{'.jpg' if arcade else '.png'}"
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".webp":
                jobs.append((path, target))
            else:
                shutil.copyfile(path, target)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(_convert, jobs, chunksize=16))
    print(f"{options.target}: {len(jobs)} images.")


if __name__ == "__main__":
    main()
