"""Decoding of compressed frames in a process of its own, so that no damaged picture ends this one.

The process (:mod:`casr_net.files.pixeldata.decoder`) is started when the first frame needs it and kept; after a death
the next frame gets a new one. There is one a process, used by one thread at a time.

Pixels come back in shared memory that has no name on POSIX systems, so nothing can be left behind in /dev/shm, and the
size of /dev/shm in a container does not matter. ``multiprocessing.shared_memory`` would name it, start a tracking
process by ``sys.executable``, and, before Python 3.13, remove it together with the process that only looked at it.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import mmap
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...errors import shown
from ..frames import MAX_FRAME_BYTES
from .codestreams import Codestream, UndecodableError

__all__ = ["deaths", "decode_stream", "interpreter", "request_for", "stop"]

_SCRIPT = Path(__file__).with_name("decoder.py")
_START_SECONDS = 60.0
_PATIENCE = (
    8  # times the limit in computing time: how long is waited on a busy machine, and where time cannot be limited
)
_SYNTAXES = {
    "JPEG": "1.2.840.10008.1.2.4.51",
    "JPEG Lossless": "1.2.840.10008.1.2.4.57",
    "JPEG-LS": "1.2.840.10008.1.2.4.81",
    "JPEG 2000": "1.2.840.10008.1.2.4.91",
}


def decode_stream(data: bytes, picture: Codestream, raw_colours: bool = False) -> tuple[np.ndarray, str]:
    """Decode one compressed frame.

    Args:
        data: JPEG, JPEG Lossless, JPEG-LS or JPEG 2000 stream.
        picture: its description (:func:`casr_net.files.pixeldata.codestreams.describe`).
        raw_colours: the components of a JPEG stream without markers are RGB, not YCbCr.

    Returns:
        (rows, columns, samples) unsigned words of 8 or 16 bits, and what the decoder complained of, empty if nothing.

    Raises:
        UndecodableError: when the frame is damaged, kills the decoder, or takes too much time or memory. A frame of
            64 x 64 pixels has 1 s of computing time, one of 4096 x 4096 21 s.
    """
    data = data[picture.start :] if picture.start else data
    request = request_for(data, picture, raw_colours)
    size = max(request["size"], len(data))
    if size > MAX_FRAME_BYTES:
        raise UndecodableError(f"a frame takes {size >> 20} MiB; the limit is {MAX_FRAME_BYTES >> 20} MiB")
    with _lock:
        pixels, said = _decoder().ask(request, data)
    words = pixels.view(np.dtype(f"u{picture.itemsize}"))
    # gdcm also prints what is of no account, such as the codec that it tries first.
    damage = _quoted(said).lower()
    complaint = said if "corrupt" in damage or "premature" in damage else ""
    return words.reshape(picture.rows, picture.columns, picture.samples), complaint


def request_for(data: bytes, picture: Codestream, raw_colours: bool = False) -> dict[str, Any]:
    """What the decoding process is asked for a stream; see :func:`decode_stream`."""
    return {
        "decoder": "pillow" if picture.kind == "JPEG" and picture.precision == 8 else "gdcm",
        "syntax": _SYNTAXES[picture.kind],
        "length": len(data),
        "size": picture.columns * picture.rows * picture.samples * picture.itemsize,
        "seconds": round(1 + 20 * picture.columns * picture.rows / 2**24, 3),
        "raw": raw_colours and not picture.marked,
        **{name: getattr(picture, name) for name in ("columns", "rows", "samples", "precision", "signed")},
    }


def stop() -> None:
    """End the decoding process, if there is one; the next frame starts another."""
    global _current
    with _lock:
        if _current is not None:
            _current.stop()
            _current = None


def deaths() -> int:
    """How many decoding processes frames have ended so far, for tests and logs."""
    return _deaths


class _Decoder:
    """The parent's side of one decoding process."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - as long as the process
        self._shared, name, inherited = _shared_memory(MAX_FRAME_BYTES)
        try:
            self._process = subprocess.Popen(
                [interpreter(), "-P", "-S", str(_SCRIPT), name, str(MAX_FRAME_BYTES)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=_environment(),
                pass_fds=inherited,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        finally:
            for descriptor in inherited:
                os.close(descriptor)
        self._input: IO[bytes] = self._process.stdin  # type: ignore[assignment]
        self._output: IO[bytes] = self._process.stdout  # type: ignore[assignment]
        if self._wait(_START_SECONDS) != b"ready\n":
            said = self._last_words()
            self.stop()
            raise UndecodableError(f"the process for decoding does not start{said}")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], data: bytes) -> tuple[np.ndarray, str]:
        """Bytes of the decoded frame, and what the decoder printed.

        Raises:
            UndecodableError: when there is none; the process may have died over it.
        """
        try:
            self._shared[: len(data)] = data
            with contextlib.suppress(OSError):  # died before: the empty reply says so
                self._input.write(json.dumps(request).encode() + b"\n")
                self._input.flush()
            reply = self._wait(request["seconds"] * _PATIENCE)
        except BaseException:
            self.stop()  # interrupted: its reply would answer the next request
            raise
        if not reply.endswith(b"\n"):
            global _deaths
            _deaths += 1
            self.stop()
            raise UndecodableError(self._cause(request["seconds"]))
        answer = json.loads(reply)
        if "error" in answer:
            raise UndecodableError(f"{answer['error']}{_quoted(answer['said'])}")
        return np.frombuffer(self._shared, np.uint8, request["size"]).copy(), answer["said"]

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> None:
        """Let the process end, and end it if it does not."""
        with contextlib.suppress(OSError):
            self._input.close()
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def _wait(self, seconds: float) -> bytes:
        """The next line; an end without one where the process died, or was ended here after that time."""
        self._late = False
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._output, select.POLLIN)
            if not poll.poll(1000 * seconds):
                self._give_up()
            return self._output.readline()
        timer = threading.Timer(seconds, self._give_up)  # Windows; a thread a frame costs more than all the rest here
        timer.daemon = True
        timer.start()
        try:
            return self._output.readline()
        finally:
            timer.cancel()

    def _give_up(self) -> None:
        self._late = True
        self._process.kill()

    def _cause(self, seconds: float) -> str:
        status = self._process.returncode
        if self._late or status == -getattr(signal, "SIGPROF", 0):
            return f"it takes longer than {seconds:.1f} s to decode"
        how = f"signal {-status}" if status < 0 else f"status {status}{self._last_words()}"
        return f"it is damaged in a way that ends its decoder ({how})"

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read()[-4096:].decode("utf-8", "replace").split("\n")
        return _quoted(next((line for line in reversed(lines) if line.strip()), ""))


def _quoted(said: str) -> str:
    return f": {shown(' '.join(said.split()), 100)}" if said.strip() else ""


_lock = threading.Lock()
_current: _Decoder | None = None
_deaths = 0


def _decoder() -> _Decoder:
    global _current
    if _current is None or not _current.alive:
        if _current is not None:
            _current.stop()
        _current = None
        _current = _Decoder()
    return _current


def _forget() -> None:
    """In a forked child: the decoding process is the parent's."""
    global _current, _lock
    _current, _lock = None, threading.Lock()


def _at_exit() -> None:
    """Without the lock, which a thread that is still decoding may hold."""
    if _current is not None:
        _current.kill()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def interpreter() -> str:
    """A Python for the decoding process: the one that runs here, or PythonSlicer inside 3D Slicer, whose own
    executable is no Python.

    Raises:
        UndecodableError: when none is found.
    """
    own = Path(sys.executable or "")
    if own.is_file() and "python" in own.stem.lower():
        return str(own)
    folders = (Path(sys.prefix) / "bin", Path(sys.prefix), Path(sys.base_prefix) / "bin", Path(sys.base_prefix))
    names = ("PythonSlicer", "python3", "python")
    found = shutil.which("PythonSlicer")
    for folder in folders:
        for name in names:
            found = found or shutil.which(name, path=str(folder))
    if not found:
        raise UndecodableError("no Python was found for the process that decodes compressed frames")
    return found


def _environment() -> dict[str, str]:
    """Packages are found where this process finds them, also in paths that were added while it ran; so the child needs
    no search of its own (-S), which takes a third of its start."""
    paths = dict.fromkeys(path for path in sys.path if path and os.path.exists(path))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _shared_memory(size: int) -> tuple[mmap.mmap, str, tuple[int, ...]]:
    """Memory of that size, taken only as it is used; the name by which a child finds it, and descriptors to inherit."""
    if sys.platform == "win32":
        name = f"casr-{uuid.uuid4().hex}"
        return mmap.mmap(-1, size, tagname=name), name, ()
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("casr-frame")
    else:  # macOS: a file that is deleted while it is open
        descriptor, path = tempfile.mkstemp(prefix="casr-")
        os.unlink(path)
    os.ftruncate(descriptor, size)
    return mmap.mmap(descriptor, size), str(descriptor), (descriptor,)
