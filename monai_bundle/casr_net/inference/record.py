"""What happens in a run, file by file: said to the user, and kept in ``run.json``."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import CASRError, DataError
from ..files.addresses import is_address, place_of
from ..files.digest import sha256
from ..files.inputs import Inputs
from ..files.names import as_text, frame_label
from .areas import write_areas
from .bundle import expected_error
from .filerecord import FileRecord, counted
from .origin import difference, unlisted
from .provenance import describe, package_versions, settings_hash
from .runfile import RunFile, now

__all__ = ["RunReport"]

logger = logging.getLogger("casr_net")

WRITING_SHARE = 0.05
"""Of the time, that writing of run.json may take while the network runs."""


class RunReport:
    """Collects what happens in a run.

    Args:
        output_dir: where ``run.json`` is written.
        device: that the network ran on.
        weights: file of the network's weights.
        components: the objects that lead to the results; their settings are stored, and hashed.
        window: centre and width that the user wants, None without; it counts among the settings.
        inferer: whose ``used`` says what computed the network, and ``tta`` whether on mirror images too.
        areas: also write ``areas.csv``, see :mod:`casr_net.inference.areas`.

    Attributes:
        files: what is known of each input, by its path.
        failures: path to error.
        progress: called with the number of frames that were tried since the last call.
    """

    def __init__(
        self,
        output_dir: str | Path,
        device: Any = "",
        weights: str | Path = "",
        components: Sequence[Any] = (),
        window: Sequence[float] | None = None,
        inferer: Any = None,
        areas: bool = False,
    ) -> None:
        self.record = RunFile(output_dir)
        self.folder, self.weights = Path(output_dir), Path(weights)
        self.files: dict[str, FileRecord] = {}
        self.failures: dict[str, CASRError] = {}
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.progress: Callable[[int], object] = lambda frames: None
        self.config = [*(describe(component) for component in components), {"window": window and list(window)}]
        self.run: dict[str, Any] = {
            "number": 0,
            "state": "running",
            "summary": "",
            "started": now(),
            "finished": None,
            "working_directory": as_text(os.getcwd()),
            "inputs": [],
            "output_folder": as_text(output_dir),
            "versions": package_versions(),
            "platform": platform.platform(),
            "device": str(device),
            "runtime": "",
            "config_sha256": settings_hash(self.config),
            "weights": as_text(weights),
            "weights_sha256": sha256(self.weights) if self.weights.is_file() else None,
        }
        self._started = self._saved = time.perf_counter()
        self._cost = 0.0
        self._inferer, self._areas = inferer, areas
        self.tta = getattr(inferer, "tta", False)
        self._used: set[str] = set()
        self._outputs: dict[str, dict[str, Any]] = {}
        self._passed_over: dict[str, int] = {}
        self._looked = False

    @property
    def path(self) -> Path:
        """Of ``run.json``."""
        return self.record.path

    @property
    def exit_code(self) -> int:
        """0 when every input succeeded; else 2 when the command was wrong about all of them, 1 otherwise."""
        codes = {failure.exit_code for failure in self.failures.values()}
        if not codes:
            return 0
        return 2 if codes == {2} and len(self.failures) == len(self.files) else 1

    def exit(self) -> None:
        """End the process with :attr:`exit_code`, unless it is 0."""
        if self.exit_code:
            raise SystemExit(self.exit_code)

    def fail(self, path: str, error: CASRError) -> None:
        """Note one input's failure, and say it in one line."""
        if path not in self.failures:
            self.failures[path] = error
            self.files.setdefault(path, FileRecord(path)).error = as_text(" ".join(str(error).split()))
            logger.error("%s", error, exc_info=error if logger.isEnabledFor(logging.DEBUG) else None)

    def expect(self, inputs: Inputs) -> None:
        """Take over what was found: files, refusals, and what was passed over."""
        self.run["inputs"] = [as_text(path) for path in inputs.given]
        self._passed_over, self._looked = inputs.passed_over, inputs.looked_at > 0
        for kind, count in inputs.passed_over.items():
            logger.info("passed over, %s: %d.", kind, count)
        for path, error in inputs.failures.items():
            self.fail(path, error)
        for item in inputs.items:
            if item["path"] not in self.files:
                record = self.files[item["path"]] = FileRecord(item["path"], item["name"], item["frames"])
                if is_address(record.path):
                    record.source["instance"] = place_of(record.path).instance

    def made_otherwise(self, path: str, results: Iterable[Path]) -> str:
        """A line about the first of the results of a file that this run would have made otherwise; empty if none is.

        Raises:
            DataError: when the file cannot be read.
        """
        line, source = difference(self.record, results, path, self.run | {"config": self.config})
        self.files[path].source |= source
        return line

    def adopt(self, item: dict[str, Any], places: Mapping[str, Path]) -> None:
        """List the results of a frame that a killed run has written, but not listed any more.

        Args:
            item: the frame.
            places: its results that are there, by their kind; :meth:`made_otherwise` has nothing against them.
        """
        for kind, path in places.items():
            if self.record.key(path) not in self.record.outputs:
                found = unlisted(self.record, path, item["path"])
                if found is not None:
                    self.wrote(item, kind, path)
                    self._outputs[self.record.key(path)]["run"] = found["run"]

    def begin(self) -> None:
        """Write that the run has begun.

        Raises:
            DataError: when that is impossible.
        """
        if not self.writes:
            return
        # What tells an input, before anything is made of it: a killed run may leave no more than this.
        for record in self.files.values():
            if record.wanted:
                with contextlib.suppress(OSError):  # gone meanwhile: said when its turn comes
                    status = os.stat(record.path)
                    record.source |= {"bytes": status.st_size, "modified": status.st_mtime_ns}
        begun = self._current()
        said = self.record.begin(begun, self.config)
        self.run["number"] = begun["number"]
        if said:
            logger.warning("%s", said)

    @property
    def writes(self) -> bool:
        """Whether there is anything to keep: a run that found nothing at all makes no folder."""
        return self._looked or self.folder.is_dir()

    def wrote(self, item: dict[str, Any], kind: str, path: Path) -> None:
        """Note a result of a frame, or the stack or video that its file ends with."""
        numbered = path.name.startswith(f"{frame_label(Path(item['name']).name, item['frame'])}_")
        self._outputs[self.record.key(path)] = {
            "input": as_text(item["path"]),
            "kind": kind,
            "frame": item["frame"] if item["frames"] > 1 and numbered else None,
            "bytes": os.stat(path).st_size,
        }

    def frame_done(self, item: dict[str, Any], seconds: float = 0.0) -> None:
        """Note that a frame is segmented and its results are written."""
        record = self.files[item["path"]]
        record.done += 1
        record.seconds += seconds
        self._after(record)

    def frame_failed(self, item: dict[str, Any], error: Exception) -> None:
        """Note that a frame cannot be done. It is said once for the file, when its last frame has been tried."""
        record = self.files[item["path"]]
        known = expected_error(error)
        if known is None:
            root: BaseException = error
            while root.__cause__ is not None:  # MONAI wraps what a transform raises
                root = root.__cause__
            known = DataError(f"{record.path}: results cannot be made: {type(root).__name__}: {root}")
            known.__cause__ = error
        record.failed[item["frame"]] = known
        self._after(record)

    def take(
        self, record: FileRecord, outputs: Mapping[str, dict[str, Any]], seconds: Mapping[str, float], used: str = ""
    ) -> None:
        """Take over what another report, perhaps of another process, has noted of a file of this run.

        Args:
            record: of the file.
            outputs: its results, by their key in ``run.json``.
            seconds: by stage.
            used: what computed the network.
        """
        known = self.files[record.path]
        tried = record.done + len(record.failed) - known.done - len(known.failed)
        self.files[record.path] = record
        self._outputs |= outputs
        for stage, value in seconds.items():
            self.seconds[stage] += value
        self._used |= {used} - {""}
        if record.complete:
            self._conclude(record)
        self.progress(tried)
        self._save_in_time()

    def went_to_cpu(self, text: str) -> None:
        """Say that the rest of the run is computed on the CPU, and keep it."""
        logger.warning("%s", text)
        self.run["device"] += ", then cpu"

    def _after(self, record: FileRecord) -> None:
        if record.complete:
            self._conclude(record)
        self.progress(1)
        self._save_in_time()

    def _save_in_time(self) -> None:
        """Write how far the run has come, unless that was done just now."""
        if time.perf_counter() - self._saved > self._cost / WRITING_SHARE:
            self.save()

    def _conclude(self, record: FileRecord) -> None:
        """Say what is wrong with a file, or strange about it."""
        failure = record.failure()
        if failure is not None:
            self.fail(record.path, failure)
        for line in record.conclude():
            logger.warning("%s", line)

    def save(self) -> None:
        """Write how far the run has come."""
        if self.run["number"]:
            begun = time.perf_counter()
            number = {"run": self.run["number"]}  # for what was written before the run began too, such as curves
            self.record.update(self._current(), {key: number | made for key, made in self._outputs.items()})
            self._outputs = {}
            self._saved = time.perf_counter()
            self._cost = self._saved - begun

    def end(self, state: str) -> None:
        """Write how the run ended.

        Args:
            state: "finished", "interrupted" or "stopped".
        """
        for record in self.files.values():
            if record.wanted and not record.complete and (record.failed or record.empty or record.clipped):
                self._conclude(record)
        self.run |= {"state": state, "finished": now()}
        self.save()
        if self._areas and self.run["number"]:
            write_areas(self.folder, self.record.runs)

    def summary(self) -> str:
        """How far the run has come, such as "interrupted, 4 of 14 frames"."""
        frames = counted(self.files.values())
        return f"{self.run['state']}, {frames['before'] + frames['done']} of {frames['expected']} frames"

    def _current(self) -> dict[str, Any]:
        self.seconds["total"] = time.perf_counter() - self._started
        return self.run | {
            "runtime": ", ".join(sorted(self._used)) or getattr(self._inferer, "used", ""),
            "summary": self.summary(),
            "frames": counted(self.files.values()),
            "files": [record.as_json() for record in self.files.values()],
            "passed_over": self._passed_over,
            "seconds": {stage: round(value, 4) for stage, value in self.seconds.items()},
        }
