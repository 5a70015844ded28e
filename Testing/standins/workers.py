"""A double of the worker process, driven by the test, and the real one."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
from CASRSegmentationLib.process import WorkerError
from CASRSegmentationLib.protocol import Job
from CASRSegmentationLib.signal import Signal


class FakeWorker:
    """Speaks the protocol when the test says so. The mask is where the frame is dark."""

    made: list[FakeWorker] = []  # noqa: RUF012
    refuse = ""

    def __init__(self, bundle: Path) -> None:
        self.message, self.ended = Signal(), Signal()
        self.bundle = bundle
        self.running = False
        self.commands: list[dict[str, Any]] = []
        self.killed = self.finished = False
        type(self).made.append(self)

    def start(self, folder: Path | None = None) -> None:
        if self.refuse:
            raise WorkerError(self.refuse)
        self.running = True

    def send(self, command: dict[str, Any]) -> None:
        self.commands.append(command)

    def finish(self) -> None:
        self.finished, self.running = True, False

    def cancel(self) -> None:
        self.killed, self.running = True, False

    # What the test makes it do
    @property
    def folder(self) -> Path:
        return Path(self.commands[-1]["folder"])

    @property
    def job(self) -> Job:
        return Job.load(self.folder)

    @property
    def frames(self) -> np.ndarray:
        return np.load(self.folder / "frames.npy")

    def say(self, event: str, **entries: Any) -> None:
        """Send a message, as the timer of the real one does."""
        self.message.emit({"event": event, **entries})

    def do(self, number: int, limit: int = 110) -> None:
        """One frame of the job, by its place in it."""
        self.compute(number, limit)
        self.answer(number)

    def compute(self, number: int, limit: int = 110) -> None:
        """Write the files of a frame."""
        index, frame = self.job.indices[number], self.frames[number]
        mask = (frame < limit).astype(np.uint8)
        np.save(self.folder / f"mask_{index:05d}.npy", mask)
        np.save(self.folder / f"probability_{index:05d}.npy", mask.astype(np.float32) * 0.75)

    def answer(self, number: int) -> None:
        """Say that the files of a frame are there."""
        self.say(
            "frame", index=self.job.indices[number], number=number + 1, count=len(self.job.indices), seconds=0.1,
            device="cpu", pixels=1, warnings=[],
        )  # fmt: skip

    def do_all(self) -> None:
        """The whole job."""
        self.say("hello", pid=1, version="0")
        self.say("loaded", device="cpu", seconds=0.1)
        for number in range(len(self.job.indices)):
            self.do(number)
        self.say("done", seconds=1.0, failed=0)


def install_python_slicer(folder: Path, monkeypatch: Any) -> None:
    """``PythonSlicer`` on the PATH: this Python."""
    script = folder / "PythonSlicer"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


class ServingWorker(FakeWorker):
    """A worker that answers a command of the effect when the test says so. Refining takes away the mask's last row."""

    made: list[FakeWorker] = []  # noqa: RUF012

    def __init__(self, bundle: Path) -> None:
        super().__init__(bundle)
        self.refined = 0

    def _answer(self, command: dict[str, Any], event: str, **entries: Any) -> None:
        self.say(event, id=command["id"], **entries)

    def named(self, name: str) -> list[dict[str, Any]]:
        """Commands of a name so far."""
        return [command for command in self.commands if command["command"] == name]

    def find(self, limit: int = 110) -> None:
        """Answer the last search."""
        self.compute(limit)
        self.answer()

    def compute(self, limit: int = 110) -> None:
        """Write the files: probability 0.75 where the frame is darker than ``limit``, 0.35 a little above."""
        command = self.named("segment")[-1]
        folder = Path(command["folder"])
        (index,) = Job.load(folder).indices
        (frame,) = np.load(folder / "frames.npy")
        probability = np.where(frame < limit, 0.75, np.where(frame < limit + 15, 0.35, 0.05)).astype(np.float32)
        np.save(folder / f"probability_{index:05d}.npy", probability)
        np.save(folder / f"mask_{index:05d}.npy", (probability >= 0.5).astype(np.uint8))

    def answer(self) -> None:
        """Say that the files are there."""
        command = self.named("segment")[-1]
        (index,) = Job.load(Path(command["folder"])).indices
        self._answer(command, "hello", pid=1, version="0")
        self._answer(command, "loaded", device="cpu", seconds=0.1)
        self._answer(command, "frame", index=index, number=1, count=1, seconds=0.1, device="cpu", pixels=1, warnings=[])
        self._answer(command, "done", seconds=0.1, failed=0)

    def refine(self) -> None:
        """Answer the last refinement."""
        self.refined = len(self.named("refine"))
        command = self.named("refine")[-1]
        folder, index = Path(command["folder"]), command["index"]
        mask = np.load(folder / f"probability_{index:05d}.npy") >= command["threshold"]
        mask[np.flatnonzero(mask.any(1))[-1:]] = False
        np.save(folder / f"mask_{index:05d}.npy", mask.astype(np.uint8))
        self._answer(command, "refined", index=index, threshold=command["threshold"], pixels=1, seconds=0.01)
