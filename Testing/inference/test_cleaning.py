"""What is kept between runs goes when nobody has used it for long, or when it becomes too much."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import platformdirs
import pytest
from filelock import FileLock

from casr_net.cli import main
from casr_net.files.atomic import PART
from casr_net.inference import bundle
from casr_net.inference.runtimes import cleaning
from casr_net.inference.runtimes.store import Store

DAY = 86400


def keep(store: Store, name: str, hours: float = 0.0, size: int = 1000) -> Path:
    """A content that was used so many hours ago."""
    path = store.path("onnx", {"network": name})
    if not path.exists():
        store.get("onnx", {"network": name}, lambda: bytes(size))
    used = time.time() - hours * 3600
    os.utime(path, (used, used))
    return path


def test_what_nobody_uses_goes_and_what_is_used_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old, used, young = (keep(store, name) for name in ("old", "used", "young"))
    for path, days in ((old, 31), (used, 400), (young, 29)):
        os.utime(path, (time.time() - days * DAY,) * 2)
    assert store.kept("onnx", {"network": "used"}) == bytes(1000)
    new = keep(store, "new")
    assert {path.name for path in tmp_path.iterdir()} == {used.name, young.name, new.name}
    os.utime(young, (time.time() + 400 * DAY,) * 2)  # by a clock that went wrong
    store.put("plan", {}, b"plan")
    assert not young.exists() and new.exists()


def test_what_is_too_much_goes_by_its_last_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    second, first, third, in_use = (
        keep(store, name, hours) for name, hours in (("second", 50), ("first", 90), ("third", 3), ("in use", 0.5))
    )
    monkeypatch.setattr(cleaning, "MOST_BYTES", 3 * first.stat().st_size)
    new = keep(store, "new")
    assert {*tmp_path.iterdir()} == {third, in_use, new} and not second.exists()
    monkeypatch.setattr(cleaning, "MOST_BYTES", 10)
    newer = keep(store, "newer")
    assert {*tmp_path.iterdir()} == {in_use, new, newer}, "what was used within the hour stays in any case"
    monkeypatch.setattr(cleaning, "MOST_BYTES", 10**9)
    monkeypatch.setattr(cleaning, "MOST_FILES", 2)
    for path in (in_use, new):
        os.utime(path, (time.time() - 2 * 3600,) * 2)
    newest = keep(store, "newest")
    assert {file.path for file in cleaning.kept_files(tmp_path)} == {newer, newest}


def test_locks_and_temporary_files_that_were_left(tmp_path: Path) -> None:
    store = Store(tmp_path)
    left, held = (store.path("onnx", {"network": name}).with_suffix(".lock") for name in ("killed", "working"))
    left.touch()
    written, begun = tmp_path / f"{PART}1-2.zip", tmp_path / f"{PART}3-4.zip"
    for path in (written, begun):
        path.write_bytes(b"half")
    os.utime(begun, (time.time() - 2 * DAY,) * 2)
    foreign = [tmp_path / "notes.txt", tmp_path / "onnx-mine.zip", tmp_path / "model.pt"]
    for path in foreign:
        path.touch()
        os.utime(path, (0, 0))
    code = "import sys\nfrom filelock import FileLock\nwith FileLock(sys.argv[1]): print(1, flush=True); input()"
    command = [sys.executable, "-c", code, str(held)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "1\n"
        new = keep(store, "new")
        assert {*tmp_path.iterdir()} == {held, written, new, *foreign}
        other.communicate("\n")
    assert cleaning.clean(tmp_path) == [] and not held.exists() and new.exists()


def test_what_is_made_within_the_making_of_another_keeps_its_lock(tmp_path: Path) -> None:
    store = Store(tmp_path)
    lock = store.path("choice", {}).with_suffix(".lock")

    def make() -> bytes:
        keep(store, "model")  # cleans
        assert lock.exists()
        return b"chosen"

    assert store.get("choice", {}, make) == b"chosen"
    assert not list(tmp_path.glob("*.lock"))


def test_who_waits_for_a_lock_that_goes_finds_the_content(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.path("onnx", {"network": "abc"})
    code = """if True:
        import sys
        from pathlib import Path
        from casr_net.inference.runtimes.store import Store
        def never():
            raise AssertionError("it was made meanwhile")
        print(1, flush=True)
        sys.stdout.write(str(len(Store(Path(sys.argv[1])).get("onnx", {"network": "abc"}, never))))
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(cleaning.__file__).parents[3])}
    command = [sys.executable, "-c", code, str(tmp_path)]
    with FileLock(path.with_suffix(".lock")) as lock:
        other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert other.stdout is not None and other.stdout.readline() == "1\n"
        time.sleep(0.2)  # it waits by now, or finds the content without
        store.put("onnx", {"network": "abc"}, bytes(1000))
        cleaning.remove_lock(lock)
    assert other.communicate(timeout=60)[0] == "1000"


def test_processes_that_use_and_clean_at_once(tmp_path: Path) -> None:
    """Each file is beyond the limits as soon as it is there: all that may happen is that it is made again."""
    code = """if True:
        import sys
        from pathlib import Path
        from casr_net.inference.runtimes import cleaning
        from casr_net.inference.runtimes.store import Store
        cleaning.MOST_BYTES, cleaning.IN_USE_HOURS = 10, 0
        store = Store(Path(sys.argv[1]))
        for turn in range(60):
            name = str(turn % 3)
            assert store.get("onnx", {"network": name}, lambda: name.encode() * 5000) == name.encode() * 5000
        print("done")
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(cleaning.__file__).parents[3])}
    command = [sys.executable, "-c", code, str(tmp_path)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    for process in both:
        out, errors = process.communicate(timeout=120)
        assert (out, errors) == ("done\n", "")
    assert len([*tmp_path.iterdir()]) <= 2


def test_doctor_tells_what_is_kept_and_removes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)
    monkeypatch.setattr(bundle, "bundle_root", lambda: tmp_path)
    for name in ("models", "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.pt").touch()
    shipped, mine = (tmp_path / name / ".runtimes" for name in ("models", "mine"))
    for folder in (shipped, mine):
        keep(Store(folder), "model")
    (mine / "notes.txt").touch()
    main(["doctor", "--quick", "--json"])
    row, cache = json.loads(capsys.readouterr().out)["kept"]
    assert (row["folder"], row["files"]) == (str(shipped), 1) and row["bytes"] > 1000
    assert (cache["folder"], cache["files"]) == (str(tmp_path / "cache" / "casr-net" / "runtimes"), 0)
    assert main(["doctor", "--clear-cache"]) == 0
    assert f"removed: 1 file(s), 0.0 MB in {shipped}" in capsys.readouterr().out
    assert not shipped.exists() and len(cleaning.kept_files(mine)) == 1
    assert main(["doctor", "--clear-cache", str(mine.parent / "model.pt")]) == 0
    assert [path.name for path in mine.iterdir()] == ["notes.txt"] and (tmp_path / "models" / "model.pt").exists()
    assert main(["doctor", "--clear-cache", str(tmp_path / "other.pt")]) == 2
    assert "other.pt is no file" in capsys.readouterr().err
