"""The worker process as Slicer sees it: started and stopped without ever waiting for it.

The worker's output goes to files that a timer looks at. That works in the same way on all systems and in both Qt
versions, and no thread is needed, which would stand still while Slicer's event loop waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import qt

from .protocol import mismatch, parse
from .signal import Signal

__all__ = ["Worker", "WorkerError"]

POLL_MS = 20
LOG_LINES = 40


class WorkerError(RuntimeError):
    """The worker process cannot be started or spoken to."""


class Worker:
    """One process of ``python -m casr_net.worker``.

    Args:
        bundle: bundle folder, which holds the package ``casr_net``.
        python: interpreter; None takes Slicer's own, ``PythonSlicer``.
        environment: variables to be changed for the process.

    Attributes:
        message: Signal(dict), each message of the worker. One that speaks another protocol is answered for by a message
            ``error`` and ended.
        ended: Signal(int, str), once, after the last message: exit code (negative: killed by that signal) and the last
            lines of its log. Neither is emitted any more after :meth:`cancel`.
    """

    def __init__(self, bundle: Path, python: str | None = None, environment: Mapping[str, str] | None = None) -> None:
        self.message = Signal()
        self.ended = Signal()
        self._bundle = Path(bundle)
        self._python = python
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._messages: IO[bytes] | None = None
        self._rest = b""
        self._folder: Path | None = None
        self._cancelled = False
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._poll)

    @property
    def running(self) -> bool:
        """Whether the process has been started, and neither ended nor been cancelled."""
        return self._process is not None and not self._cancelled

    @property
    def pid(self) -> int | None:
        """Number of the process that was started (in Slicer: its launcher), while there is one."""
        return None if self._process is None else self._process.pid

    def start(self, folder: Path | None = None) -> None:
        """Start the process, for one job folder or, without, to serve commands.

        Raises:
            WorkerError: when there is no interpreter, it cannot be started, or this worker has been started before.
        """
        if self._folder is not None:
            raise WorkerError("This worker has been started before.")
        python = self._python or shutil.which("PythonSlicer")
        if python is None:
            raise WorkerError("PythonSlicer was not found on the PATH; Slicer's own Python is needed.")
        if not (self._bundle / "casr_net" / "worker.py").is_file():
            raise WorkerError(f"{self._bundle}: no casr_net/worker.py in this bundle folder.")
        self._folder = Path(tempfile.mkdtemp(prefix="casr-worker-"))
        command = [python, "-m", "casr_net.worker", *([] if folder is None else [str(folder)])]
        options: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            options = {"creationflags": subprocess.CREATE_NO_WINDOW}
        try:
            with open(self._folder / "messages", "wb") as output, open(self._folder / "log", "wb") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=output, stderr=log, env=self._variables(), **options
                )
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise WorkerError(f"{python}: cannot be started: {error.strerror or error}.") from error
        self._messages = open(self._folder / "messages", "rb")  # noqa: SIM115 - read until the process has ended
        if folder is not None:
            self._close_input()
        self._timer.start()

    def send(self, command: Mapping[str, Any]) -> None:
        """Give a serving worker a command.

        Raises:
            WorkerError: when it is not running (any more).
        """
        if not self.running or self._process is None or self._process.stdin is None or self._process.stdin.closed:
            raise WorkerError("The worker process is not running.")
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise WorkerError(f"The worker process takes no commands any more ({error.strerror or error}).") from error

    def finish(self) -> None:
        """Let a serving worker leave when it has done what it was told."""
        self._close_input()

    def cancel(self) -> None:
        """Kill the process with all its children, at once; what it may still have said is dropped."""
        if self._process is None or self._cancelled:
            return
        self._cancelled = True
        if self._process.poll() is None:
            _kill_tree(self._process)

    def _variables(self) -> dict[str, str]:
        variables = dict(os.environ)
        paths = [str(self._bundle), variables.get("PYTHONPATH", "")]
        variables["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        variables["PYTHONIOENCODING"] = "utf-8"  # a log line in another encoding must not end the worker
        variables["CASR_PARENT_PID"] = str(os.getpid())  # it ends with this process, not with the launcher between
        return variables | self._environment

    def _close_input(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # the process may have gone already
                self._process.stdin.close()

    def _poll(self) -> None:
        if self._process is None or self._messages is None:
            return
        # Asked before reading: what is written between the two would be lost the other way round.
        code = self._process.poll()
        lines = (self._rest + self._messages.read()).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            message = parse(line)
            if message is not None and not self._cancelled:
                self._take(message)
        if code is not None and self._process is not None:
            self._leave(code)

    def _take(self, message: dict[str, Any]) -> None:
        problem = mismatch(message, self._bundle) if message["event"] == "hello" else ""
        if problem:
            message = {"event": "error", "kind": "ProtocolError", "text": problem}
        self.message.emit(message)
        if problem:
            self.cancel()

    def _leave(self, code: int) -> None:
        self._timer.stop()
        self._close_input()
        if self._messages is not None:
            self._messages.close()
        log = self._log()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._process = None
        if not self._cancelled:
            self.ended.emit(code, log)

    def _log(self) -> str:
        assert self._folder is not None
        try:
            text = (self._folder / "log").read_bytes().decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-LOG_LINES:])


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        # Windows has no process groups of this kind; taskkill follows the tree, and is not waited for.
        with contextlib.suppress(OSError):
            subprocess.Popen(
                ["taskkill", "/F", "/T", "/PID", str(process.pid)], creationflags=subprocess.CREATE_NO_WINDOW
            )
        return
    # Started in a session of its own, so that its number is that of the group of the launcher and all its children.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
