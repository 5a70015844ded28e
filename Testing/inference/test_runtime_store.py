"""What runtimes keep between runs: whole, made once, made anew when it is damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from casr_net.inference.runtimes import store as module
from casr_net.inference.runtimes.store import Store, store_folder

ABOUT = {"network": "abc", "versions": {"torch": "2.13"}, "formats": [True, False]}


def never() -> bytes:
    raise AssertionError("it is kept already")


def test_content_is_made_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "new")
    assert store.get("onnx", ABOUT, lambda: b"model") == b"model"
    assert Store(tmp_path / "new").get("onnx", ABOUT, never) == b"model"
    assert store.get("sample", ABOUT, lambda: b"mask") == b"mask"
    assert store.get("onnx", ABOUT | {"network": "other"}, lambda: b"other") == b"other"
    assert not list(tmp_path.rglob(".part-*"))


def test_damaged_files_are_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path)
    path = store.path("onnx", ABOUT)
    store.get("onnx", ABOUT, lambda: b"model" * 1000)
    whole = path.read_bytes()
    other = tmp_path / "other"
    Store(other).get("onnx", ABOUT | {"network": "other"}, lambda: b"foreign")
    foreign = Store(other).path("onnx", ABOUT | {"network": "other"}).read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for number, damaged in enumerate((whole[:-100], whole[:middle], b"", b"text", flipped, foreign), start=1):
        path.write_bytes(damaged)
        assert store.get("onnx", ABOUT, lambda: b"anew") == b"anew"
        assert sum("made anew" in record.getMessage() for record in caplog.records) == number
        assert store.get("onnx", ABOUT, never) == b"anew"


def test_what_fails_to_be_made_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fails() -> bytes:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.get("onnx", ABOUT, fails)
    assert not store.path("onnx", ABOUT).exists()
    assert store.get("onnx", ABOUT, lambda: b"model") == b"model"


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    assert Store(tmp_path / "file" / "below").get("onnx", ABOUT, lambda: b"model") == b"model"
    assert "cannot be kept for the next run" in caplog.text


def test_a_lock_that_stays_costs_only_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.1)
    store = Store(tmp_path)
    with module.FileLock(store.path("onnx", ABOUT).with_suffix(".lock")):
        assert store.get("onnx", ABOUT, lambda: b"model") == b"model"
    assert "cannot be kept" in caplog.text


def test_two_processes_make_it_once(tmp_path: Path) -> None:
    code = """if True:
        import sys, time
        from pathlib import Path
        from casr_net.inference.runtimes.store import Store
        folder = Path(sys.argv[1])
        def make():
            with open(folder / "made.txt", "a") as stream:
                stream.write("x")
            time.sleep(0.5)
            return b"model" * 100000
        print("ready", flush=True)
        sys.stdin.readline()
        sys.stdout.write(str(len(Store(folder).get("onnx", {"network": "abc"}, make))))
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[3])}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in both:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[0] for process in both] == ["500000", "500000"]
    assert (tmp_path / "made.txt").read_text() == "x"


def test_place_is_beside_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "model.pt"
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)
    assert store_folder(weights) == tmp_path / "cache" / "casr-net" / "runtimes"  # no such file
    weights.touch()
    assert store_folder(weights) == tmp_path / ".runtimes"
    assert store_folder(None) == tmp_path / "cache" / "casr-net" / "runtimes"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert store_folder(weights) == tmp_path / "cache" / "casr-net" / "runtimes"
