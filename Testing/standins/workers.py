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
        FakeWorker.made.append(self)

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
        index, frame = self.job.indices[number], self.frames[number]
        mask = (frame < limit).astype(np.uint8)
        np.save(self.folder / f"mask_{index:05d}.npy", mask)
        np.save(self.folder / f"probability_{index:05d}.npy", mask.astype(np.float32) * 0.75)
        self.say(
            "frame", index=index, number=number + 1, count=len(self.job.indices), seconds=0.1, device="cpu",
            pixels=int(mask.sum()), warnings=[],
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
