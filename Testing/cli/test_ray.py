"""``casr segment --engine ray``: a pool of processes does what the local engine does."""

from __future__ import annotations

import ast
import contextlib
import errno
import json
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from makers.poison import OVERLAY
from PIL import Image

from casr_net.cli import main
from casr_net.inference import engines
from casr_net.inference.engines import require_ray
from casr_net.inference.runfile import RunFile

from .conftest import files, record
from .test_runs import SCHEMA

pytest.importorskip("ray")

RAY = ("--engine", "ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray of two workers for all tests, which find the tests' own modules: it takes seconds to start."""
    import ray

    from casr_net.inference.ray_engine import QUIET

    paths = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**QUIET, "PYTHONPATH": paths, "RAY_worker_niceness": "0"}.items():
            patch.setenv(name, value)
        ray.init(
            address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
            logging_level=logging.CRITICAL, object_store_memory=100 * 2**20,
        )  # fmt: skip
        yield
        ray.shutdown()


@pytest.fixture
def poison(tmp_path: Path) -> Path:
    path = tmp_path / "poison.json"
    path.write_text(json.dumps(OVERLAY))
    return path


@pytest.fixture
def cines(tmp_path: Path, angiogram: np.ndarray) -> Callable[..., list[Path]]:
    """Writes TIFFs of three frames, by their names."""

    def write(*names: str) -> list[Path]:
        (tmp_path / "in").mkdir(exist_ok=True)
        for number, name in enumerate(names):
            frames = [Image.fromarray(np.roll(angiogram, 11 * i + 5 * number, axis=0)) for i in range(3)]
            frames[0].save(tmp_path / "in" / name, save_all=True, append_images=frames[1:])
        return [tmp_path / "in" / name for name in names]

    return write


def without_times(content: dict[str, Any]) -> dict[str, Any]:
    for run in content["runs"]:
        jsonschema.validate(content, SCHEMA, jsonschema.Draft202012Validator)
        for name in ("started", "finished", "output_folder"):
            run.pop(name)
        run["seconds"] = sorted(run["seconds"])
        for file in run["files"]:
            file.pop("seconds")
    return content


def test_results_and_record_are_those_of_the_local_engine(
    cluster: None, segment, cines, picture, poison: Path, tmp_path: Path, capsys
) -> None:
    """Also beside a file that ends its process."""
    cines("run1.tif", "run2.tif")
    picture(tmp_path / "in" / "sub" / "one.png")
    Image.new("L", (64, 64), 7).save(tmp_path / "in" / "constant.png")
    (tmp_path / "in" / "torn.png").write_bytes((tmp_path / "in" / "sub" / "one.png").read_bytes()[:900])
    options = ("--probability", "--overlay", "sheet", "--areas", "--config", poison)
    assert segment(tmp_path / "in", options=options)[0] == 1
    output, local = tmp_path / "out", tmp_path / "local"
    output.rename(local)
    expected = sorted(capsys.readouterr().err.splitlines())
    (poisoned,) = cines("poison.tif")
    assert segment(tmp_path / "in", options=(*options, *RAY, "--workers", 2))[0] == 1
    said = sorted(capsys.readouterr().err.splitlines())
    assert said == sorted([*expected, next(line for line in said if line.startswith(f"{poisoned}: the process that "))])
    names = [name for name in files(local) if name not in ("run.json", "areas.csv")]
    assert len(names) == 7 + 7 + 3
    for name in names:
        if "_probability" in name:  # sums are rounded otherwise where other frames share the processors
            found, wanted = (np.asarray(Image.open(folder / name)).astype(int) for folder in (output, local))
            assert found.shape == wanted.shape and np.abs(found - wanted).max() <= 1, name
        else:
            assert (output / name).read_bytes() == (local / name).read_bytes(), name
    assert len((output / "areas.csv").read_text().splitlines()) == len((local / "areas.csv").read_text().splitlines())
    found, wanted = record(output), without_times(record(local))
    assert found["outputs"].keys() == set(files(output)) - {"run.json", "areas.csv"}, "also what was whole at the crash"
    bad = next(file for file in found["runs"][0]["files"] if file["path"] == str(poisoned))
    assert bad["state"] == "failed" and "ended, twice" in bad["error"] and bad["done"] < 3
    found["runs"][0]["files"].remove(bad)
    found["outputs"] = {key: made for key, made in found["outputs"].items() if made["input"] != str(poisoned)}
    found = without_times(found)
    for content in (found, wanted):
        content["runs"][0].pop("frames"), content["runs"][0].pop("summary")
    assert found == wanted


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """In place of Ray an actor in this process, as far as pickled jobs and parts go."""
    from casr_net.inference import ray_engine

    def put(fate: Callable[[str], None] = lambda name: None) -> None:
        def through(ray: Any, settings: Any, jobs: Any, *_: Any) -> Iterator[Any]:
            actor = ray_engine.Actor(settings)
            for job in jobs:
                try:
                    fate(Path(job.record.path).name)
                except ChildProcessError:
                    continue
                yield pickle.loads(actor({"job": [pickle.dumps(job)]})["part"][0])

        monkeypatch.setattr(ray_engine, "_through_pool", through)
        monkeypatch.setattr(ray_engine, "_cluster", lambda workers: contextlib.nullcontext())
        monkeypatch.setattr(ray_engine, "_limit_threads", lambda threads: None)

    return put


def test_a_worker_that_dies_costs_nothing(segment, cines, pool) -> None:
    died = []

    def fate(name: str) -> None:
        if name == "b.tif" and not died:
            died.append(name)
            raise ChildProcessError

    pool(fate)
    code, output = segment(*cines("a.tif", "b.tif"), options=RAY)
    assert code == 0 and died
    assert [file["state"] for file in record(output)["runs"][0]["files"]] == ["done", "done"]
    assert len(record(output)["outputs"]) == 6


@pytest.mark.parametrize("options", [(), RAY])
def test_a_full_disk_ends_the_run_and_it_can_go_on(
    segment, cines, pool, capsys, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    pool()
    paths, link = cines("a.tif", "full.tif", "y.tif", "z.tif"), os.link

    def full(source: Path, target: Path) -> None:
        if Path(target).name == "full_f0001_mask.png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        link(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", full)
        code, output = segment(*paths, options=options)
    assert code == 1
    assert capsys.readouterr().err.splitlines() == [
        f"casr: {output}/full_f0001_mask.png: cannot be written: No space left on device; the run stops. With room on "
        "the disk, the same command goes on."
    ]
    found = record(output)["runs"][0]
    assert found["state"] == "stopped" and found["summary"] == "stopped, 4 of 12 frames"
    assert [file["state"] for file in found["files"]] == ["done", "waiting", "waiting", "waiting"]
    before = {name: (output / name).stat().st_mtime_ns for name in files(output) if name != "run.json"}
    assert len(before) == 4 and set(before) == record(output)["outputs"].keys()
    assert segment(*paths, options=options)[0] == 0
    after = {name: (output / name).stat().st_mtime_ns for name in files(output)}
    assert before.items() <= after.items() and len(after) == 4 * 3 + 1


def test_an_interrupted_run_goes_on(segment, cines, pool) -> None:
    def fate(name: str) -> None:
        if name == "b.tif":
            raise KeyboardInterrupt

    pool(fate)
    paths = cines("a.tif", "b.tif")
    code, output = segment(*paths, options=RAY)
    assert code == 130 and record(output)["runs"][0]["state"] == "interrupted"
    pool()
    assert segment(*paths, options=RAY)[0] == 0
    assert [file["state"] for file in record(output)["runs"][1]["files"]] == ["kept", "done"]


def test_workers_go_by_the_plan_of_an_earlier_one(
    segment, cines, pool, random_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same results and record."""
    pytest.importorskip("onnxruntime")
    from casr_net.inference import filework, ray_engine

    pool()
    networks = []

    def worker(network: Any) -> Any:
        networks.append(type(network).__name__)
        return filework.FileWorker(network)

    monkeypatch.setattr(ray_engine, "FileWorker", worker)
    (tmp_path / "models").mkdir()
    weights = shutil.copy(random_weights, tmp_path / "models" / "model.pt")
    (path,) = cines("a.tif")
    found = []
    for _ in range(2):
        code, output = segment(path, options=(*RAY, "--weights", weights, "--runtime", "onnx", "--probability"))
        assert code == 0
        found.append(
            (without_times(record(output)), [(output / name).read_bytes() for name in sorted(files(output))[:6]])
        )
        shutil.rmtree(output)
    assert networks == ["ConfiguredNetwork", "PlannedNetwork"]
    assert found[0] == found[1] and len(found[0][1]) == 6 and found[0][0]["runs"][0]["runtime"] == "onnx fp32"


def test_wrong_weights_end_the_run(segment, png: Path, pool, tmp_path: Path, capsys) -> None:
    pool()
    (tmp_path / "wrong.pt").write_bytes(b"no weights")
    assert segment(png, options=(*RAY, "--weights", tmp_path / "wrong.pt"))[0] == 1
    assert "wrong.pt" in capsys.readouterr().err


def test_more_workers_than_processors_are_refused(cluster: None, segment, png: Path, capsys) -> None:
    assert segment(png, options=(*RAY, "--workers", 3))[0] == 2
    assert "--workers is 3; Ray has 2 processors." in capsys.readouterr().err


def test_goes_on_after_kill_9(
    cluster: None, segment, cines, random_weights: Path, small_config: Path, tmp_path: Path
) -> None:
    """The process that the user started is killed when the first results are there."""
    import ray

    paths = cines(*(f"c{number}.tif" for number in range(8)))
    output = tmp_path / "out"
    command = [sys.executable, "-m", "casr_net.cli", "segment", *map(str, paths), "--output", str(output), "--quiet"]
    command += ["--weights", str(random_weights), "--config", str(small_config), *RAY, "--workers", "1"]
    environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    end = time.monotonic() + 200
    while len(list(output.glob("*_mask.png"))) < 4 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert record(output)["runs"][0]["state"] == "running"
    while True:  # the workers end a moment after their driver
        before = {path: path.stat().st_mtime_ns for path in output.glob("*_mask.png")}
        time.sleep(1)
        if len(before) == len(list(output.glob("*_mask.png"))):
            break
    assert 4 <= len(before) < 24
    assert segment(*paths)[0] == 0  # by the other engine
    masks = {path: path.stat().st_mtime_ns for path in output.glob("*_mask.png")}
    assert len(masks) == 24 and before.items() <= masks.items()
    runs = RunFile(output)
    assert runs.load() == "" and set(runs.outputs) == set(files(output)) - {"run.json"}


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, png: Path, tmp_path: Path, capsys) -> None:
    find = "casr_net.inference.engines.importlib.util.find_spec"
    monkeypatch.setattr(find, lambda name: None)
    assert main(["segment", str(png), "-o", str(tmp_path / "out"), *RAY]) == 2
    assert "ray and pyarrow and pandas not installed; pip install 'casr-net[ray]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    require_ray()


def test_workers_are_for_ray(png: Path, tmp_path: Path, capsys) -> None:
    assert main(["segment", str(png), "-o", str(tmp_path), "--workers", "2"]) == 2
    assert "--workers is for --engine ray" in capsys.readouterr().err


def test_ray_is_imported_only_when_it_is_asked_for() -> None:
    package = Path(engines.__file__).parents[1]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in package.rglob("*.py")]
    top = [node for tree in trees for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in top if isinstance(node, ast.ImportFrom) and not node.level}
    assert "torch" in names and not {name for name in names if name.split(".")[0] == "ray"}
