"""The decoding process, a script; :mod:`casr_net.files.pixeldata.decoding` starts it and speaks to it.

Native decoders end the whole process on some damaged pictures (gdcm throws through C), so they run here. On standard
input come requests, a line of JSON each; the compressed frame lies at the start of memory that is shared with the
parent, its pixels are put there in its place, and a line of JSON says so on standard output. The process ends with its
parent, whose end closes the input. It imports nothing but the decoder that is asked for, since it has to start fast
after a death.
"""

from __future__ import annotations

import io
import json
import mmap
import os
import signal
import sys
from contextlib import suppress
from typing import Any

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["DECODERS", "main"]

_SPARE_MEMORY = 256 * 2**20
_MEMORY_PER_BYTE = 24  # of the decoded frame; JPEG 2000 takes 4 bytes a sample several times, gdcm copies through texts


def main() -> None:
    """Serve requests until the input ends. Arguments: name or file descriptor of the shared memory, and its size."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; it closes the input
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what decoders print must not get between the replies
    shared = _shared(sys.argv[1], int(sys.argv[2]))
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold a patient's pixels
    replies.write(b"ready\n")
    requests = sys.stdin.buffer
    while line := requests.readline():
        request = json.loads(line)
        data = shared[: request["length"]]
        replies.write(json.dumps(_serve(request, data, shared)).encode() + b"\n")


def _serve(request: dict[str, Any], data: bytes, shared: Any) -> dict[str, Any]:
    try:
        _load(request["decoder"])
    except ImportError as error:
        return {"error": f"the package of its decoder ({request['decoder']}) cannot be loaded", "said": f"{error}"}
    used = _address_space()
    _bound(request["seconds"], used and used + _SPARE_MEMORY + _MEMORY_PER_BYTE * request["size"])
    try:
        pixels = DECODERS[request["decoder"]](data, request)
        if pixels is None:
            return {"error": "the decoder refuses it", "said": _said()}
        if len(pixels) != request["size"]:
            return {"error": f"it gives {len(pixels)} bytes instead of {request['size']}", "said": ""}
        shared[: len(pixels)] = pixels
    except MemoryError:
        return {"error": "it needs more memory than the limit", "said": ""}
    except Exception as error:
        return {"error": "the decoder refuses it", "said": f"{error}"}
    finally:
        _bound(0, -1)
    return {"said": _said()}


def _load(decoder: str) -> None:
    """Import what a decoder needs, before time and memory are limited."""
    if decoder == "gdcm":
        import gdcm  # noqa: F401
    else:
        from PIL import Image, JpegImagePlugin  # noqa: F401

        Image.MAX_IMAGE_PIXELS = None  # the parent knows the size, and has a limit of its own


def _pillow(data: bytes, request: dict[str, Any]) -> bytes:
    """8-bit JPEG. Colours become RGB by libjpeg's rule, or stay as coded where the request says that they are RGB."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        if request["samples"] == 3:
            if request["raw"]:
                image.draft("YCbCr", image.size)
            elif image.mode != "RGB":
                return image.convert("RGB").tobytes()
        return image.tobytes()


def _gdcm(data: bytes, request: dict[str, Any]) -> bytes | None:
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(data)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((request["columns"], request["rows"], 1))
    image.SetDataElement(element)
    samples, precision = request["samples"], request["precision"]
    colours = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2" if samples == 1 else "RGB")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(colours))
    if samples > 1:
        image.SetPlanarConfiguration(0)
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(request["syntax"])))
    allocated = 8 if precision <= 8 else 16
    image.SetPixelFormat(gdcm.PixelFormat(samples, allocated, precision, precision - 1, int(request["signed"])))
    buffer = image.GetBuffer()  # bytes in a text, the way of gdcm's binding; None where the decoder failed
    return None if buffer is None else buffer.encode("utf-8", "surrogateescape")


DECODERS = {"pillow": _pillow, "gdcm": _gdcm}


def _shared(name: str, size: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, size, tagname=name)
    return mmap.mmap(int(name), size)


def _bound(seconds: float, memory: int) -> None:
    """Limit computing time and memory of what follows, where the system can; 0 seconds and -1 bytes lift the limits, 0
    bytes leave memory alone.

    Time is that of the processor, so that a busy machine does not make a good frame fail; at its end the process dies,
    also as an orphan. The parent waits some times longer.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)
    if resource is not None and memory:
        with suppress(OSError, ValueError):
            _, hard = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (hard if memory < 0 else memory, hard))


def _address_space() -> int:
    """Bytes of addresses in use, which a limit has to allow; 0 where the system (macOS) does not tell."""
    with suppress(OSError, ValueError, IndexError), open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * mmap.PAGESIZE
    return 0


def _said() -> str:
    """Last line that the decoder printed for this frame; the file of standard error is emptied for the next."""
    with suppress(OSError):
        size = os.lseek(2, 0, os.SEEK_END)
        if size:
            os.lseek(2, max(size - 4096, 0), os.SEEK_SET)
            text = os.read(2, 4096).decode("utf-8", "replace").strip()
            os.ftruncate(2, 0)
            os.lseek(2, 0, os.SEEK_SET)
            return text.splitlines()[-1] if text else ""
    return ""


if __name__ == "__main__":
    main()
