"""Files one by one by the objects of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files.results import ResultWriter
from .bundle import build
from .evaluator import FrameDataset
from .record import RunReport
from .run import FrameRun

__all__ = ["ConfiguredNetwork"]


class ConfiguredNetwork:
    """A :class:`casr_net.inference.filework.Network` of the components of ``inference.json``, which are made once.

    Args:
        parser: see :func:`casr_net.inference.bundle.load_parser`; its components are replaced by objects.

    Raises:
        CASRError: when configuration, weights or device cannot be used.
    """

    def __init__(self, parser: Any) -> None:
        self._parser, self._report = parser, parser["report"]
        names = ("network", "inferer", "channels", "preprocessing", "postprocessing", "writer", "token_file")
        parts = {name: build(parser, name) for name in names}
        self.writer: ResultWriter = parts["writer"]
        self.token_file: str | Path | None = parts["token_file"]
        self._inferer, self._preprocessing = parts["inferer"], parts["preprocessing"]
        for name, part in parts.items():
            parser[name] = part

    @property
    def used(self) -> str:
        """What computed the network; empty before."""
        return getattr(self._inferer, "used", "")

    def frames(self, items: Sequence[dict[str, Any]], report: RunReport) -> FrameRun:
        """What goes through these frames."""
        self._parser["report"] = report
        self._parser["dataset"] = FrameDataset(items, self._preprocessing, report)
        evaluator: FrameRun = build(self._parser, "evaluator")
        return evaluator

    def parser(self) -> Any:
        """The parser with its own report again, for whoever asks what the components are."""
        self._parser["report"] = self._report
        return self._parser
