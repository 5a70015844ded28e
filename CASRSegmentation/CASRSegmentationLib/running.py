"""A job under way: its frames and results, and what is known of it so far. The logic decides when a step is made."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from .grey_rules import rule_text
from .job import JobError, Progress, Request, Summary, store_frames
from .node_scale import node_scale
from .protocol import read_mask, read_probability
from .results import ResultWriter
from .sources import image_time
from .statistics import statistics_table

__all__ = ["RunningJob"]


class RunningJob:
    """Reads frames into a job folder, takes the worker's messages, writes masks as they come.

    Args:
        request: what is to be done.
        segmentation: node to be updated, or None.

    Attributes:
        folder: the job folder, a temporary one.
        summary: what has been made so far.
        pending: frames whose masks are there and not written yet.
        prepared: there are nodes to write to.
        done: the worker has said that it is done.
        scene_closes: the nodes are about to go with the scene; to be set by the caller.
    """

    def __init__(self, request: Request, segmentation: Any) -> None:
        self.request = request
        self.folder = Path(tempfile.mkdtemp(prefix="casr-job-"))
        self.summary = Summary()
        self.pending: deque[int] = deque()
        self.prepared = self.done = self.scene_closes = False
        self._writer = ResultWriter(request.source, segmentation, request.segment_id, request.probability)
        self._times: dict[int, int] = {}
        self._rules: dict[Any, str] = {}
        self._rule_of: dict[int, str] = {}
        self._started, self._loaded = time.perf_counter(), 0.0

    # Steps

    def read(self) -> Iterator[str]:
        """Frames into the job folder, one a step; gives what the user should read.

        Raises:
            FrameError, OSError: see :func:`job.store_frames`.
        """
        for number, (index, changed) in enumerate(store_frames(self.request, self.folder), start=1):
            self._times[index] = changed
            yield _("Reading frame {number} of {count}...").format(number=number, count=len(self.request.indices))

    def prepare(self) -> Iterator[None]:
        """Nodes for the result, in steps.

        Raises:
            ResultError: when the segmentation cannot take it.
        """
        yield from self._writer.prepare()
        self.prepared = True
        self.summary.segmentation_id = self._writer.segmentation.GetID()
        self.summary.segment_id = self._writer.segment_id

    def write_next(self) -> None:
        """Write the mask that has waited longest.

        Raises:
            ResultError, OSError, ValueError: when it cannot be read or written.
        """
        index = self.pending.popleft()
        if image_time(self.request.source, index) != self._times[index]:
            self.summary.failed[index] = _("the image has changed since it was read.")
        else:
            probability = read_probability(self.folder, index) if self.request.probability else None
            self._writer.write(index, read_mask(self.folder, index), probability, self._rule_of.get(index, ""))
            self.summary.pixels[index] = self._writer.written[index]
        for name in ("mask", "probability"):
            (self.folder / f"{name}_{index:05d}.npy").unlink(missing_ok=True)

    def complete(self) -> Summary:
        """What was made, with the table of areas if that is wanted.

        Raises:
            JobError: when no frame could be segmented.
        """
        summary, source = self.summary, self.request.source
        if not summary.pixels:
            reason = next(iter(summary.failed.values()), _("the worker gave no result"))
            raise JobError(_("No frame could be segmented: {reason}").format(reason=reason))
        if self.request.statistics:
            summary.table_id = statistics_table(source, summary.pixels, node_scale(source)).GetID()
        if self._writer.probability is not None:
            summary.probability_id = self._writer.probability.node_id
        summary.seconds = time.perf_counter() - self._started
        return summary

    def close(self) -> None:
        """Remove temporary files, and nodes that were made in vain unless they go with their scene."""
        if not self.scene_closes:
            self._writer.discard()
        shutil.rmtree(self.folder, ignore_errors=True)

    # What is known

    def take(self, message: Mapping[str, Any]) -> None:
        """Take a message of the worker."""
        event, summary = message["event"], self.summary
        if event == "loaded":
            summary.device = str(message.get("device", ""))
            self._loaded = time.perf_counter()
        elif event == "warning":
            summary.warnings.append(str(message.get("text", "")))
        elif event == "rule":
            self._rules[message.get("source")] = rule_text(message)
            summary.rules.append(rule_text(message))
        elif event == "frame" and "error" in message:
            summary.failed[int(message["index"])] = str(message["error"])
            if message.get("details"):
                logging.error("CASR Segmentation: %s\n%s", message["error"], message["details"])
        elif event == "frame":
            summary.device = str(message.get("device", summary.device))
            self.pending.append(int(message["index"]))
            self._rule_of[int(message["index"])] = self._rules.get(message.get("source"), "")
        elif event == "done":
            self.done = True

    def progress(self) -> Progress:
        """Where the job stands."""
        count = len(self.request.indices)
        number = len(self.summary.pixels) + len(self.summary.failed)
        left = None
        if number:
            left = (time.perf_counter() - self._loaded) / number * (count - number)
        text = _("Frame {number} of {count}").format(number=min(number + 1, count), count=count)
        return Progress(number, count, left, text)

    def lacks_nodes(self) -> bool:
        """Whether a node is gone without which the job makes no sense."""
        source = self.request.source
        needed = {source.volume_id, source.browser_id, source.sequence_id} | self._writer.node_ids
        return any(node_id and slicer.mrmlScene.GetNodeByID(node_id) is None for node_id in needed)
