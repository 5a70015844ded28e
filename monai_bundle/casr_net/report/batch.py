"""Many inputs, one report each, and an index of them; nothing that is said or written names a file or a patient, unless
that is wanted."""

from __future__ import annotations

import logging
import os
import re
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CASRError, DataError
from ..files.digest import sha256
from ..files.inputs import find_inputs
from ..files.names import as_text
from .analyse import analyse
from .files import earlier_rows, is_whole, read_measurements, write_index, write_report
from .options import Options
from .page import index_row
from .provenance import network_of

if TYPE_CHECKING:
    from ..inference.segmenter import Segmenter

__all__ = ["Batch", "Input", "find_files"]

logger = logging.getLogger("casr_net")

DIGITS = 12
"""Of a file's SHA-256 in the name of its results: two of a million files share one with a chance below 1 %."""


@dataclass(frozen=True)
class Input:
    """A file to measure.

    Attributes:
        path: of the file.
        name: of its results, relative; made of its content unless the identity is kept.
        error: why it cannot be read, or None.
    """

    path: str
    name: str
    error: CASRError | None = None


def find_files(
    paths: Sequence[str | Path], window: tuple[float, float] | None = None, keep_identity: bool = False
) -> list[Input]:
    """The files of inputs and folders, in order, by their headers alone; those that cannot be read as well.

    Args:
        paths: files and folders.
        window: of the run, see :func:`casr_net.files.find_inputs`.
        keep_identity: name results by the files, else by their content.
    """
    found: list[Input] = []
    names: dict[str, str] = {}
    failed: set[str] = set()
    # One by one, where the name says nothing: files that are called alike are no conflict then.
    for group in [paths] if keep_identity else [[path] for path in paths]:
        inputs = find_inputs(list(group), window)
        for kind, count in inputs.passed_over.items():
            logger.info("passed over, %s: %d.", kind, count)
        named = {item["path"]: item["name"] for item in inputs.items}
        for path in [*named, *(path for path in inputs.failures if path not in named)]:
            error = inputs.failures.get(path)
            if error is not None and not keep_identity:  # given twice, it is one failure
                real = os.path.realpath(path)
                if real in failed:
                    continue
                failed.add(real)
            number = len(found) + 1
            name = named.get(path, "") if keep_identity else ""
            if not keep_identity and error is None:
                try:
                    name = f"angiogram-{sha256(path)[:DIGITS]}"
                except OSError as reason:
                    error = DataError(f"{path}: cannot be opened: {reason.strerror or reason}.")
            if error is None and name in names:
                if names[name] != path:
                    logger.info("input %d: of the same content as another one, passed over.", number)
                continue
            names[name] = path
            found.append(Input(path, name or f"input-{number:04d}", error))
    return found


@dataclass
class Batch:
    """Runs :func:`analyse` over files, and keeps the index.

    Attributes:
        output: folder of the results.
        options: for all inputs.
        overwrite: replace results that exist; without it those made with the same settings are kept.
        failures: name to error.
        rows: of the index, in the order of the inputs.
    """

    output: Path
    options: Options
    overwrite: bool = False
    failures: dict[str, CASRError] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """As that of ``casr segment``: 0 when every input succeeded; else 2 when the command was wrong about all of
        them, 1 otherwise."""
        codes = {error.exit_code for error in self.failures.values()}
        if not codes:
            return 0
        return 2 if codes == {2} and len(self.failures) == len(self.rows) else 1

    def run(
        self,
        files: Sequence[Input],
        segmenter: Segmenter | None,
        progress: Callable[[int], object] = lambda files: None,
    ) -> int:
        """Measure each file; whatever is wrong with one costs no other. Returns the exit code.

        Raises:
            DataError: when the folder cannot be written to.
        """
        network = network_of(segmenter)
        kept = 0
        for file in files:
            try:
                content, done_before = self._one(file, segmenter, network)
                kept += done_before
                self.rows.append(index_row(content, f"{file.name}/report.html"))
            except CASRError as error:
                self._failed(file, error, files)
            except Exception as error:  # whatever is wrong with one file must not cost the others
                known = DataError(f"{file.path}: cannot be measured: {type(error).__name__}: {error}")
                known.__cause__ = error
                self._failed(file, known, files)
            progress(1)
        if any(file.error is None for file in files):  # else there is nothing to keep
            before = earlier_rows(self.output, {file.name for file in files}, self.options.keep_identity)
            place = write_index(self.output, [*self.rows, *before])
            done = len(self.rows) - len(self.failures)
            logger.info(
                "%d of %d inputs measured%s; see %s.", done, len(self.rows),
                f", {kept} of them before" if kept else "", place,
            )  # fmt: skip
        return self.exit_code

    def _one(self, file: Input, segmenter: Segmenter | None, network: dict[str, str]) -> tuple[dict[str, Any], bool]:
        if file.error is not None:
            raise file.error
        folder = self.output / file.name
        if not self.overwrite:
            content = read_measurements(folder)
            if content is not None:
                self._same(folder, content, file, network)
                if is_whole(folder):
                    return content, True
        analysis = analyse(file.path, segmenter, self.options, file.name)
        write_report(folder, analysis, Path(file.path))
        for line in analysis.warnings:
            logger.warning("%s: %s", file.name, self._scrubbed(line, [file]))
        return analysis.as_dict(), False

    def _same(self, folder: Path, content: dict[str, Any], file: Input, network: dict[str, str]) -> None:
        """Refuse to keep results that would come out otherwise."""
        made = {key: content["versions"].get(key) for key in ("weights", "settings")}
        wanted = {key: network.get(key) for key in made}
        others = [
            name
            for name, differs in (
                ("settings", content["settings"] != self.options.as_dict() or made["settings"] != wanted["settings"]),
                ("weights", made["weights"] != wanted["weights"]),
                ("content of the input", content["input"]["sha256"] not in (None, sha256(file.path))),
                ("identity", bool(content["input"]["identity"]) != self.options.keep_identity),
            )
            if differs
        ]
        if others:
            raise DataError(
                f"{folder}: exists already and was kept, it was made with other {' and '.join(others)}; --overwrite "
                "replaces it."
            )

    def _failed(self, file: Input, error: CASRError, files: Sequence[Input]) -> None:
        self.failures[file.name] = error
        words = self._scrubbed(" ".join(str(error).split()), files)
        if not self.options.keep_identity:
            words = words.removeprefix(f"{file.name}: ")
        logger.error("%s: %s", file.name, words)
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s", self._scrubbed("".join(traceback.format_exception(error)), files))
        self.rows.append({"name": as_text(file.name), "error": as_text(words)})

    def _scrubbed(self, words: str, files: Sequence[Input]) -> str:
        """A message with names of results in place of paths, unless the identity is kept."""
        if self.options.keep_identity:
            return words
        for file in sorted(files, key=lambda file: -len(file.path)):
            for text in dict.fromkeys((file.path, str(Path(file.path)), Path(file.path).name)):
                words = re.sub(rf"(?<!\w){re.escape(text)}(?!\w)", file.name, words)
        return words


def with_mask(options: Options, path: str | Path) -> Options:
    """The options with the mask of a file: its only frame, or that of the chosen frame.

    Raises:
        DataError: when the file is no mask, or has none for that frame.
    """
    from ..files.masks import open_mask

    mask = open_mask(path)
    try:
        numbers = list(mask.numbers) if mask.numbers is not None else list(range(mask.frames))
        frame = options.frame
        if mask.frames == 1:
            frame = numbers[0] if frame is None and mask.numbers is not None else frame
            return replace(options, mask=mask.frame(0), frame=frame)
        if frame is None:
            raise DataError(f"{path}: masks of {mask.frames} frames; --frame says which is to be measured.")
        if frame not in numbers:
            raise DataError(f"{path}: has no mask of frame {frame + 1} (number {frame} from 0).")
        return replace(options, mask=mask.frame(numbers.index(frame)))
    finally:
        mask.close()
