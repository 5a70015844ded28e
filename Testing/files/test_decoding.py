"""The decoding process: what damaged frames do to it, and what it leaves behind."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from makers.dicoms import cine, compressed, encode, write
from PIL import Image

from casr_net.errors import DataError
from casr_net.files.dicom_frames import DicomFrames, read_header
from casr_net.files.pixeldata import decoding
from casr_net.files.pixeldata.codestreams import Codestream, UndecodableError, begins_stream, describe, split_streams

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
FRAMES = cine(3, 64, 72, 8)
STREAMS = [encode(frame, "lossless") for frame in FRAMES]
DEADLY = STREAMS[1].replace(b"\xff\xc4", b"\0\0", 1)
"""A JPEG Lossless stream without its table: gdcm throws an exception through C, and the process is aborted."""


@pytest.fixture(autouse=True)
def fresh() -> None:
    decoding.stop()


def child() -> psutil.Process:
    found = [
        process for process in psutil.Process().children() if any("decoder.py" in part for part in process.cmdline())
    ]
    assert len(found) == 1
    return found[0]


def decode(stream: bytes) -> np.ndarray:
    return decoding.decode_stream(stream, describe(stream))[0][..., 0]


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@posix
def test_a_frame_that_kills_the_decoder_costs_only_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", compressed(FRAMES, "lossless", 8, streams=[STREAMS[0], DEADLY, STREAMS[2]]))
    data, place = read_header(path)
    assert place is not None
    source, deaths = DicomFrames(path, data, place), decoding.deaths()
    assert (FRAMES[0] == source.frame(0)[0].T).all()
    with pytest.raises(DataError) as error:
        source.frame(1)
    assert str(error.value) == (
        f"{path}: frame 2 of 3 cannot be decoded: it is damaged in a way that ends its decoder (signal 6)."
    )
    assert (FRAMES[2] == source.frame(2)[0].T).all()
    assert decoding.deaths() == deaths + 1


def test_the_process_is_kept_and_started_again_when_it_was_ended() -> None:
    assert (decode(STREAMS[0]) == FRAMES[0]).all()
    first = child()
    assert (decode(STREAMS[1]) == FRAMES[1]).all()
    assert child() == first
    first.kill()
    first.wait(5)
    assert (decode(STREAMS[2]) == FRAMES[2]).all()
    assert child() != first
    decoding.stop()
    assert not psutil.Process().children()


@posix
def test_a_frame_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    decode(STREAMS[0])
    stopped = child()
    stopped.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(decoding, "_PATIENCE", 0.2)
    with pytest.raises(UndecodableError, match=r"it takes longer than 1\.0 s to decode"):
        decode(STREAMS[1])
    monkeypatch.undo()
    assert eventually(lambda: not stopped.is_running())
    assert (decode(STREAMS[1]) == FRAMES[1]).all()


@posix
def test_computing_time_is_limited_in_the_process() -> None:
    """As of an orphan: nobody waits, and it ends all the same."""
    script = textwrap.dedent(
        """
        from casr_net.files.pixeldata import decoder
        decoder._bound(0.2, -1)
        while True:
            pass
        """
    )
    done = subprocess.run([sys.executable, "-c", script], timeout=30, check=False)
    assert done.returncode == -signal.SIGPROF


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux")
def test_memory_is_limited_in_the_process() -> None:
    stream = io.BytesIO()
    Image.new("L", (12000, 12000), 100).save(stream, "JPEG")
    small = Codestream("JPEG", 64, 64, 1, 8)  # as if the size had not been checked
    with pytest.raises(UndecodableError, match="it needs more memory than the limit"):
        decoding.decode_stream(stream.getvalue(), small)
    assert (decode(STREAMS[0]) == FRAMES[0]).all()


def test_threads_take_turns() -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda index: decode(STREAMS[index % 3]), range(40)))
    assert all((frame == FRAMES[index % 3]).all() for index, frame in enumerate(found))
    child()


@posix
def test_it_ends_with_a_parent_that_is_killed_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "stream").write_bytes(STREAMS[0])
    script = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from casr_net.files.pixeldata import decoding
        from casr_net.files.pixeldata.codestreams import describe
        stream = Path({str(tmp_path / "stream")!r}).read_bytes()
        decoding.decode_stream(stream, describe(stream))
        print(decoding._current._process.pid, flush=True)
        time.sleep(60)
        """
    )
    shared = Path("/dev/shm")
    before = set(shared.iterdir()) if shared.is_dir() else set()
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    after = set(shared.iterdir()) if shared.is_dir() else set()
    assert not [path for path in after - before if path.name.startswith(("casr", "psm_"))]


@posix
def test_a_forked_process_has_a_decoder_of_its_own() -> None:
    decode(STREAMS[0])
    pid = os.fork()
    if pid == 0:
        right = (decode(STREAMS[1]) == FRAMES[1]).all()
        decoding.stop()
        os._exit(0 if right else 1)
    assert (decode(STREAMS[2]) == FRAMES[2]).all()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (decode(STREAMS[0]) == FRAMES[0]).all()


def test_decoders_print_nothing_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UndecodableError):
        decode(STREAMS[0][:-400])
    with pytest.raises(UndecodableError):
        decode(STREAMS[0].replace(b"\xff\xc4\x00\x19\x00", b"\xff\xc4\x00\x19\x88", 1))
    decode(encode(cine(1, bits=12)[0], "extended", 12))  # gdcm prints that it tries the codec for 8 bits first
    assert capfd.readouterr() == ("", "")


def test_what_decoders_complain_of_is_a_warning(tmp_path: Path) -> None:
    damaged = bytearray(STREAMS[1])
    at = len(damaged) - 200
    damaged[at : at + 40] = bytes(40)
    path = write(tmp_path / "a.dcm", compressed(FRAMES, "lossless", 8, streams=[STREAMS[0], bytes(damaged)]))
    data, place = read_header(path)
    assert place is not None
    source = DicomFrames(path, data, place)
    warnings = len(source.warnings)
    source.frame(1)
    assert source.warnings[warnings:] == [
        line for line in source.warnings if line.startswith("frame 2 of 2 may be damaged: Corrupt JPEG data")
    ]
    assert len(source.warnings) == warnings + 1


def test_slicers_own_executable_is_no_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    application, python = tmp_path / "SlicerApp-real", tmp_path / "bin" / "PythonSlicer"
    python.parent.mkdir()
    for path in (application, python):
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    assert decoding.interpreter() == sys.executable
    monkeypatch.setattr(sys, "executable", str(application))
    monkeypatch.setenv("PATH", str(python.parent))
    assert decoding.interpreter() == str(python)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert decoding.interpreter() == str(python)
    python.unlink()
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    with pytest.raises(UndecodableError, match="no Python was found"):
        decoding.interpreter()


def test_a_missing_decoder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(UndecodableError, match=r"the package of its decoder \(gdcm\) cannot be loaded: .*gdcm"):
        decode(STREAMS[0])


def test_files_of_the_working_folder_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    assert (decode(STREAMS[0]) == FRAMES[0]).all()


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        (b"", "no JPEG or JPEG 2000 stream begins"),
        (b"\xff\xd8\xff\xd9", "damaged before the picture begins"),
        (b"\xff\xd8\xff\xe0\x00\x00" + bytes(20), "damaged before the picture begins"),
        (b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x00\x00\x40\x01\x01\x11\x00", "64 x 0 pixels"),
        (b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x40\x00\x40\x04\x01\x11\x00", "4 components"),
        (b"\xff\xd8\xff\xc3\x00\x0b\x1f\x00\x40\x00\x40\x01\x01\x11\x00", "31 bits a sample"),
        (b"\xff\xd8\xff\xc9\x00\x0b\x08\x00\x40\x00\x40\x01\x01\x11\x00", "arithmetic JPEG is not supported"),
        (b"\xff\xd8\xff\xc5\x00\x0b\x08\x00\x40\x00\x40\x01\x01\x11\x00", "hierarchical JPEG is not supported"),
        (b"\xff\xd8\xff\xc1\x00\x11\x0c\x00\x40\x00\x40\x03" + bytes(9), "colour JPEG of 12 bits"),
        (b"\xff\x4f\xff\x51\x00\x29", "JPEG 2000 stream is damaged"),
    ],
)
def test_heads_that_describe_no_picture(stream: bytes, text: str) -> None:
    with pytest.raises(UndecodableError, match=text):
        describe(stream)


def test_heads_of_jpeg_2000() -> None:
    plain = encode(cine(1, 40, 48, 12)[0], "jpeg2000", 12)
    found = describe(plain)
    assert (found.columns, found.rows, found.samples, found.precision) == (48, 40, 1, 16)
    boxed = b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60) + plain
    assert describe(boxed).start == 72
    assert (decode(boxed) == cine(1, 40, 48, 12)[0]).all()
    high_throughput = bytearray(plain)
    high_throughput[6] |= 0x40
    with pytest.raises(UndecodableError, match="High-Throughput"):
        describe(bytes(high_throughput))
    signed = bytearray(plain)
    signed[42] = 0x80 | 25
    with pytest.raises(UndecodableError, match="26 bits a sample"):
        describe(bytes(signed))


def test_where_streams_begin() -> None:
    assert begins_stream(STREAMS[0][:12]) and not begins_stream(STREAMS[0][2:14])
    joined = STREAMS[0] + b"\0" + STREAMS[1]
    assert split_streams(joined) == [0, len(STREAMS[0]) + 1]
