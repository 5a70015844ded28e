"""What the decoding process costs a frame beyond the decoding itself.

    python experiments/decoding_overhead.py FILE.dcm [--rounds 200]

Decodes the first frame of a compressed DICOM file again and again, in turn in this process and in the decoding process,
by the same decoder, and prints medians, and the fastest of each, which a busy machine disturbs less. Limit: 5 ms for a
frame of 512 x 512.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from casr_net.files.dicom_frames import DicomFrames, read_header
from casr_net.files.pixeldata import decoder, decoding
from casr_net.files.pixeldata.coded import StreamPixels
from casr_net.files.pixeldata.codestreams import describe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    header, place = read_header(arguments.file)
    if place is None:
        raise SystemExit(f"{arguments.file}: no pixel data.")
    pixels = DicomFrames(arguments.file, header, place).pixels
    if not isinstance(pixels, StreamPixels):
        raise SystemExit(f"{arguments.file}: not JPEG, JPEG-LS or JPEG 2000; such files need no decoding process.")
    data = pixels.stream(0)
    picture = describe(data)
    request = decoding.request_for(data, picture)
    began = time.perf_counter()
    decoding.decode_stream(data, picture)
    start = time.perf_counter() - began
    times: dict[str, list[float]] = {"here": [], "process": []}
    for _ in range(arguments.rounds):
        began = time.perf_counter()
        decoder.DECODERS[request["decoder"]](data, request)
        times["here"].append(time.perf_counter() - began)
        began = time.perf_counter()
        decoding.decode_stream(data, picture)
        times["process"].append(time.perf_counter() - began)
    here, process = (1000 * statistics.median(times[name]) for name in ("here", "process"))
    least = 1000 * (min(times["process"]) - min(times["here"]))
    told = {
        "frame": f"{picture.columns} x {picture.rows}, {picture.kind}, {picture.precision} bits, {len(data)} bytes",
        "first_frame_ms": round(1000 * start, 1),
        "decoding_ms": round(here, 2),
        "in_process_of_its_own_ms": round(process, 2),
        "overhead_ms": round(process - here, 2),
        "overhead_of_the_fastest_ms": round(least, 2),
    }
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
