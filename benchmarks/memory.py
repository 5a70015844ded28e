"""Peak memory of ``casr segment``: cines and large frames, formats and runtimes.

    python benchmarks/memory.py --output benchmarks/results/memory.json [--only TEXT] [--table docs/speed.md]

Each case is a run of the command line of its own over a synthetic cine that is written first: what the process and
those that it starts hold at most at the same moment (process_tree.py, libraries included), without a GPU, in its second
run with these settings; "libraries and network" imports torch and MONAI, which that needs no more with some runtimes.
With ``--first`` it is the first run, with a copy of the weights beside which nothing is kept yet: networks are
converted, tried and measured in it, by a second process where a plan can be made. Cases of an earlier run with the same
result file are kept, those that are run again replaced; ``--table`` writes the table between the marks of that file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import tifffile
from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage, generate_uid

from casr_net.inference.bundle import bundle_root
from casr_net.inference.runtimes.machine import machine
from casr_net.inference.runtimes.packages import RUNTIMES, installed_runtimes, runtime_versions
from casr_net.synthetic.angiogram import make_angiogram
from process_tree import peak_memory

MARK, END = "<!-- memory -->", "<!-- /memory -->"

CASES = (
    *((side, frames, "tif", "png", ()) for side in (512, 1024, 2048) for frames in (1, 20, 80)),
    (1024, 80, "tif", "nii.gz", ()),
    (1024, 80, "tif", "nrrd", ()),
    (1024, 80, "dcm", "seg", ()),
    (1024, 80, "tif", "png", ("--overlay", "--probability")),
    (4096, 1, "tif", "png", ()),
    (4096, 1, "tif", "png", ("--overlay", "--probability")),
)
"""Side, frames, kind of the input, format of the masks, further options."""


def frames(side: int, count: int) -> Any:
    """uint8 (rows, columns) each, of a cine whose frames differ."""
    base = make_angiogram(seed=3, size=min(side, 2048)).image
    base = cv2.resize(base, (side, side), interpolation=cv2.INTER_LINEAR)
    rng = np.random.default_rng(0)
    for index in range(count):
        moved = np.roll(base, (index % 7, 3 * index % 11), (0, 1)).astype(np.int16)
        moved += rng.integers(-3, 4, base.shape, dtype=np.int16)
        yield np.clip(moved, 0, 255).astype(np.uint8)


def write_cine(path: Path, side: int, count: int) -> None:
    if path.suffix == ".tif":
        with tifffile.TiffWriter(path) as tiff:
            for frame in frames(side, count):
                tiff.write(frame, contiguous=True, photometric="minisblack")
        return
    data = pydicom.Dataset()
    data.SOPClassUID, data.SOPInstanceUID = XRayAngiographicImageStorage, generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.PatientName, data.PatientID, data.Modality = "Synthetic", "0", "XA"
    data.PatientBirthDate = data.PatientSex = data.StudyDate = data.StudyTime = data.AccessionNumber = ""
    data.StudyID = data.ReferringPhysicianName = ""
    data.SeriesNumber = data.InstanceNumber = 1
    data.Rows = data.Columns = side
    data.NumberOfFrames, data.SamplesPerPixel, data.PhotometricInterpretation = count, 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.PixelIntensityRelationship = "DISP"
    data.PixelData = b"".join(frame.tobytes() for frame in frames(side, count))
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.save_as(path, enforce_file_format=True)


def peak(command: list[str]) -> tuple[float, float]:
    """Largest memory of a program and the processes that it starts, together, in MB (1e6 bytes), and its seconds."""
    megabytes, seconds, code, errors = peak_memory(command)
    if code:
        raise RuntimeError(f"{' '.join(command)}: {errors[-2000:]}")
    return megabytes, seconds


def run(runtime: str, case: tuple[int, int, str, str, tuple[str, ...]], folder: Path, first: bool) -> dict[str, Any]:
    side, count, kind, form, options = case
    cine = folder / f"cine_{side}_{count}.{kind}"
    if not cine.exists():
        for old in folder.glob("cine_*"):
            old.unlink()
        write_cine(cine, side, count)
    begin = [sys.executable, "-m", "casr_net.cli", "segment"]
    end = ["-f", form, "-d", "cpu", "-q", "--runtime", runtime, *options]
    if first:
        fresh = Path(tempfile.mkdtemp(dir=folder))  # what is kept is kept beside the weights
        end += ["--weights", str(shutil.copy(bundle_root() / "models" / "model.pt", fresh))]
    else:
        small = folder / f"small.{kind}"
        write_cine(small, 512, 1)
        with tempfile.TemporaryDirectory(dir=folder) as out:
            peak([*begin, str(small), "-o", out, *end])  # what the first run with these settings prepares
    with tempfile.TemporaryDirectory(dir=folder) as out:
        megabytes, seconds = peak([*begin, str(cine), "-o", out, *end])
        written = sum(1 for path in Path(out).iterdir() if path.name != "run.json")
    return {
        "runtime": runtime, "first": first, "side": side, "frames": count, "input": kind, "format": form,
        "options": list(options), "peak_mb": megabytes, "seconds": seconds, "files": written,
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
    }  # fmt: skip


def start(runtime: str) -> dict[str, Any]:
    """What is held before the first frame."""
    code = (
        "from casr_net.inference.segmenter import Segmenter; import casr_net.inference.evaluator, "
        f"casr_net.refinement.transform; Segmenter(device='cpu', runtime={runtime!r})"
    )
    megabytes, seconds = peak([sys.executable, "-c", code])
    return {
        "runtime": runtime, "first": False, "side": 0, "frames": 0, "input": "", "format": "", "options": [],
        "peak_mb": megabytes, "seconds": seconds, "files": 0, "threads": os.environ.get("OMP_NUM_THREADS", ""),
    }  # fmt: skip


def name(entry: dict[str, Any]) -> str:
    if not entry["frames"]:
        return "libraries and network, no frame"
    plural = "s" if entry["frames"] > 1 else ""
    what = f"{entry['frames']} frame{plural} of {entry['side']} x {entry['side']}, {entry['format']}"
    return ", ".join([what, *(option.lstrip("-") for option in entry["options"])])


def column(entry: dict[str, Any]) -> str:
    runtime = str(entry["runtime"])
    return f"{runtime}, first run" if entry.get("first") else runtime


def table(result: dict[str, Any]) -> str:
    runtimes = list(dict.fromkeys(column(entry) for entry in result["cases"]))
    rows: dict[str, dict[str, str]] = {}
    for entry in sorted(result["cases"], key=lambda entry: (entry["side"], entry["frames"])):
        alone = "*" if entry["threads"] == "1" else ""
        rows.setdefault(name(entry), {})[column(entry)] = f"{entry['peak_mb']:.0f}{alone}"
    lines = [f"| peak memory, MB | {' | '.join(runtimes)} |", "|---" * (len(runtimes) + 1) + "|"]
    lines += [
        f"| {row} | {' | '.join(values.get(runtime, '') for runtime in runtimes)} |" for row, values in rows.items()
    ]
    about = result["machine"]
    lines += ["", f"`casr segment` on the CPU, {about['processor']}; MB of 10^6 bytes; * with one thread, else two."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", default="", help="cases whose name, as in the table, holds this")
    parser.add_argument("--runtimes", nargs="+", default=["openvino", "torch"])
    parser.add_argument("--first", action="store_true", help="the first run, in which networks are converted")
    parser.add_argument("--table", type=Path, help=f"text file with lines {MARK} and {END}")
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    if options.output.exists():
        found = json.loads(options.output.read_text(encoding="utf-8"))["cases"]
    for runtime in options.runtimes:
        todo: list[Any] = [*CASES] if options.first else [None, *CASES]
        with tempfile.TemporaryDirectory() as folder:
            for case in todo:
                blank = (
                    {"frames": 0}
                    if case is None
                    else dict(zip(("side", "frames", "input", "format", "options"), case, strict=True))
                )
                if options.only not in name(blank):
                    continue
                entry = start(runtime) if case is None else run(runtime, case, Path(folder), options.first)
                known = {(column(old), name(old)): place for place, old in enumerate(found)}
                place = known.get((column(entry), name(entry)))
                if place is None:
                    found.append(entry)
                else:
                    found[place] = entry
                print(f"{runtime}: {name(entry)}: {entry['peak_mb']} MB, {entry['seconds']} s", flush=True)
                result = {
                    "what": __doc__.splitlines()[0], "machine": machine(), "platform": platform.platform(),
                    "versions": runtime_versions([each for each in RUNTIMES if each in installed_runtimes()]),
                    "cases": found,
                }  # fmt: skip
                options.output.parent.mkdir(parents=True, exist_ok=True)
                options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if options.table:
        text = options.table.read_text(encoding="utf-8")
        before, after = text.split(MARK)[0], text.split(END)[1]
        result = json.loads(options.output.read_text(encoding="utf-8"))
        options.table.write_text(f"{before}{MARK}\n{table(result)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
