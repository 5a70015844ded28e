"""Frames in stages: in order, each with its own errors, a few on the way; masks as those of one after the other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from casr_net.cli import main
from casr_net.inference.evaluator import FrameEvaluator
from casr_net.inference.pipeline import Pipeline, Stage
from casr_net.inference.predict import FrameInferer, postprocessed
from casr_net.inference.segmenter import Segmenter, segment_each
from casr_net.inference.stages import FrameNetwork
from casr_net.inference.threads import Shares, current_shares, planned, sharing
from casr_net.preprocessing.load import image_tensor

from .conftest import record


def stage(work: Callable[[Any], Any], threads: int = 1, batch: int = 1, name: str = "work") -> Stage:
    return Stage(name, lambda: work, threads, batch)


def alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("casr-")]


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    end = time.monotonic() + 60
    while alive() and time.monotonic() < end:
        time.sleep(0.01)
    assert alive() == []


@pytest.mark.parametrize("room", [1, 2, 7])
def test_order_is_kept_by_threads_that_overtake(room: int) -> None:
    def slow(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number * number

    ways = list(Pipeline([stage(slow, 3), stage(lambda number: number + 1, 2)], range(20), room))
    assert [way.item for way in ways] == list(range(20))
    assert [way.value for way in ways] == [number**2 + 1 for number in range(20)]
    assert all(way.seconds["work"] > 0 for way in ways)


@pytest.mark.parametrize("room", [1, 4])
def test_an_error_costs_its_item_only(room: int) -> None:
    def odd(number: int) -> int:
        if number % 2:
            raise ValueError(f"number {number}")
        return number

    passed: list[int] = []
    ways = list(Pipeline([stage(odd, name="first"), stage(passed.append)], range(6), room))
    assert [str(way.error) for way in ways if way.error] == ["number 1", "number 3", "number 5"]
    assert {way.stage for way in ways if way.error} == {"first"}
    assert passed == [0, 2, 4]


def test_a_stage_that_cannot_be_made_fails_each_item() -> None:
    def broken() -> Any:
        raise OSError("no such library")

    ways = list(Pipeline([Stage("network", broken)], range(3), 3))
    assert [str(way.error) for way in ways] == ["no such library"] * 3


def test_no_more_than_there_is_room_for_are_taken() -> None:
    taken: list[int] = []
    begun = threading.Event()

    def items() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    def wait(number: int) -> int:
        begun.wait()
        return number

    pipeline = Pipeline([stage(lambda number: number), stage(wait)], items(), 4)
    threading.Timer(0.05, begun.set).start()
    for count, _ in enumerate(pipeline, 1):
        assert len(taken) <= count + 4
    assert len(taken) == 50


def test_large_items_are_few_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casr_net.inference.pipeline.BUDGET", 250)
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(9):
            taken.append(number)
            yield number

    for count, _ in enumerate(Pipeline([stage(lambda number: number)] * 2, items(), 8, lambda value: 100), 1):
        assert len(taken) <= count + 2


def test_what_waits_goes_together_and_fails_apart() -> None:
    sizes: list[int] = []
    ready = threading.Event()

    def double(numbers: list[int]) -> list[int]:
        ready.wait(5)
        sizes.append(len(numbers))
        if 5 in numbers:
            raise ValueError("five")
        return [2 * number for number in numbers]

    def items() -> Iterator[int]:
        for number in range(8):
            if number == 7:
                ready.set()
            yield number

    ways = list(Pipeline([stage(double, batch=4)], items(), 8))
    assert [way.value for way in ways if not way.error] == [0, 2, 4, 6, 8, 12, 14]
    assert [way.item for way in ways if way.error] == [5]
    assert max(sizes) == 4


def test_an_interruption_of_the_caller_ends_the_threads() -> None:
    def endless() -> Iterator[int]:
        yield from range(10**9)

    pipeline = Pipeline([stage(lambda number: number, 2)], endless(), 5)
    assert next(pipeline).value == 0
    pipeline.close()
    assert alive() == []
    assert len(list(pipeline)) <= 5


def test_blas_has_one_thread_meanwhile() -> None:
    def threads() -> dict[str, int]:
        return {entry["filepath"]: entry["num_threads"] for entry in threadpool_info() if entry["user_api"] == "blas"}

    with threadpool_limits(2, user_api="blas"):
        before = threads()
        assert before and set(before.values()) == {2}
        with sharing(Shares(2, requests=2)):
            with sharing(Shares(2, requests=1)):
                assert set(threads().values()) == {1}
            assert set(threads().values()) == {1}
        assert threads() == before


def test_shares() -> None:
    total = current_shares().total
    assert planned("cpu", 1).requests == 1 and planned("cpu", 1).each == total
    assert planned("cuda", 9).requests == 1 and planned("cuda", 9).batch > 1
    with sharing(Shares(4, requests=4)) as outer:
        assert torch.get_num_threads() == 1 and current_shares() is outer
        with sharing(Shares(4, requests=1)) as inner:
            assert inner is outer
        assert current_shares() is outer
    assert torch.get_num_threads() == total == current_shares().total


class Small:
    """An inferer in front of a GPU whose memory holds a few frames."""

    def __init__(self, holds: int) -> None:
        self.holds, self.seen = holds, []

    def __call__(self, inputs: torch.Tensor, network: Any) -> torch.Tensor:
        self.seen.append((inputs.device.type, len(inputs)))
        if inputs.device.type != "cpu" and len(inputs) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return torch.zeros(len(inputs), 1, *inputs.shape[2:])


@pytest.mark.parametrize(("holds", "device"), [(3, "meta"), (0, "cpu")])
def test_memory_of_a_gpu_decides_how_many_go_at_once(holds: int, device: str, caplog: Any) -> None:
    inferer, moved = Small(holds), []
    network = FrameNetwork(torch.nn.Identity(), inferer, "meta", 8, moved.append)
    for _ in range(2):
        frames = [{"image": torch.zeros(3, 8, 8 + 8 * (number % 2))} for number in range(16)]
        assert [tuple(data["pred"].shape) for data in network(frames)] == [(1, 8, 8 + 8 * (n % 2)) for n in range(16)]
    assert network.device.type == device
    assert len(moved) == (device == "cpu") and all("going on with the CPU" in text for text in moved)
    assert caplog.text.count("fewer are taken") == 1
    if holds:
        assert network.batch == 2 and [n for _, n in inferer.seen[:3]] == [8, 4, 2]


def test_frames_of_a_batch_go_back_to_their_own_grid(small_config: Path, random_weights: Path) -> None:
    """They come as plain tensors, without the metadata of the image."""
    segmenter = Segmenter(small_config, device="cpu", weights=str(random_weights))
    grey = np.random.default_rng(5).random((2, 72, 300), np.float32)
    prepared = [segmenter.channels({"image": image_tensor(image, np.eye(4))}) for image in grey]
    network = FrameNetwork(torch.nn.Identity(), Small(2), "cpu", 2)
    for data in network(prepared):
        assert data["pred"].shape[1:] == data["image"].shape[1:] != (72, 300)
        done = postprocessed(segmenter.postprocessing, data)
        assert done["pred"].shape == done["probability"].shape == (1, 72, 300)


@pytest.fixture
def mixed(tmp_path: Path, cine: Path, picture: Any) -> list[Path]:
    """A cine, images, and a file that is none."""
    bad = tmp_path / "in" / "bad.png"
    bad.write_bytes(b"bad")
    large = tmp_path / "in" / "large.png"
    stored = cv2.imread(str(picture(tmp_path / "in" / "plain.png")), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(large), cv2.resize(stored, None, fx=2.3, fy=2.1))
    return [cine, bad, tmp_path / "in" / "plain.png", large]


def without_times(run: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in run.items() if key not in ("started", "finished", "seconds", "number")}
    kept["files"] = [{key: value for key, value in file.items() if key != "seconds"} for file in run["files"]]
    return kept


@pytest.mark.parametrize("threads", [1, 3])
def test_masks_and_record_are_those_of_one_after_the_other(
    segment: Any, mixed: list[Path], tmp_path: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, fails = FrameInferer.__call__, {}

    def fail(self: Any, inputs: torch.Tensor, network: Any) -> Any:
        """The third frame of the cine is told by its picture."""
        key = round(float(inputs.sum()), 2)
        fails.setdefault(key, len(fails) == 2)
        if fails[key]:
            raise RuntimeError("no luck")
        return call(self, inputs, network)

    monkeypatch.setattr(FrameInferer, "__call__", fail)
    serial = tmp_path / "serial.json"
    serial.write_text('{"pipeline": false}')
    found = []
    for options in (("--config", serial), ()):
        with sharing(Shares(threads, requests=threads)):
            code, output = segment(*mixed, options=("--overlay", "--probability", "--overwrite", *options))
        assert code == 1
        files = {path.name: path.read_bytes() for path in sorted(output.glob("*.png"))}
        found.append((files, without_times(record(output)["runs"][-1])))
    assert found[0][0] == found[1][0] and len(found[0][0]) == 3 * 6
    assert found[0][1] == found[1][1]
    assert [file["failed"] for file in found[0][1]["files"]] == [[], [2], [], []]


def test_a_handler_that_fails_costs_its_frame_only(
    random_weights: Path, small_config: Path, cine: Path, tmp_path: Path
) -> None:
    """What is on the way behind it goes on."""
    from ignite.engine import Events

    from casr_net.inference.bundle import build, load_parser
    from casr_net.inference.run import run_inference

    parser = load_parser(
        [small_config], inputs=[str(cine)], output_dir=str(tmp_path / "out"), weights=str(random_weights)
    )
    evaluator: FrameEvaluator = build(parser, "evaluator")
    seen: list[int] = []

    def handler(engine: Any) -> None:
        seen.append(engine.state.batch[0]["frame"])
        if len(seen) == 2:
            raise ValueError("odd")

    evaluator.add_event_handler(Events.ITERATION_STARTED, handler)
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, handler)
    report = build(parser, "report")
    run_inference(evaluator, report)
    assert report.exit_code == 1 and report.files[str(cine)].failed.keys() == {0}
    assert len(list((tmp_path / "out").glob("*.png"))) >= 4


def test_frames_of_a_segmenter_are_those_of_single_calls(random_weights: Path, small_config: Path) -> None:
    segmenter = Segmenter(small_config, device="cpu", weights=str(random_weights))
    rng = np.random.default_rng(4)
    frames = rng.integers(0, 255, (6, 60, 72), np.uint8)
    with sharing(Shares(2, requests=2)):
        together = segmenter(frames)
    grey = [frame.T.astype(np.float32) / 255 for frame in frames]
    for index, image in enumerate(grey):
        with sharing(Shares(1)):  # a thread a frame, as together: another number of them sums in another order
            alone = segmenter.grey(image)
        assert np.array_equal(alone.mask, together.mask[index])
        assert np.allclose(alone.probability, together.probability[index], rtol=0, atol=1e-6)
        others = (frame for place, frame in enumerate(together.probability) if place != index)
        assert not any(np.allclose(alone.probability, frame, rtol=0, atol=1e-4) for frame in others)
    ways = segment_each(segmenter, grey, lambda image: (image,))
    next(ways)
    ways.close()


INTERRUPTED = """
import signal, sys, time, threading
from casr_net.cli import main
from casr_net.inference.predict import FrameInferer

def slow(self, inputs, network):
    if not started.is_set():
        started.set()
        print("at work", flush=True)
    time.sleep(0.3)
    return inputs[:, :1]

started = threading.Event()
FrameInferer.__call__ = slow
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C of a process of Windows goes to its whole group")
def test_control_c_ends_the_command_and_it_goes_on_later(
    cine: Path, random_weights: Path, small_config: Path, tmp_path: Path, bundle: Path
) -> None:
    output = tmp_path / "out"
    command = ["segment", str(cine), "--output", str(output), "--weights", str(random_weights), "--quiet"]
    command += ["--config", str(small_config)]
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(bundle)},
    )  # fmt: skip
    assert child.stdout is not None and child.stdout.readline() == "at work\n"
    child.send_signal(signal.SIGINT)
    _, error = child.communicate(timeout=60)
    assert child.returncode == 130 and "Traceback" not in error
    (run,) = json.loads((output / "run.json").read_text())["runs"]
    assert run["state"] == "interrupted" and run["frames"]["done"] < 5
    assert not list(output.glob(".part-*"))
    assert main(command) == 0
    assert len(list(output.glob("*_mask.png"))) == 5
