"""Runs with nothing left to segment, without torch and MONAI: of the network they need its settings alone, which tell
whether the results that are there are theirs. They are kept where there is no plan, which has them too: torch computes
the network, or nothing was to be computed yet."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...files.inputs import Inputs
from ..record import RunReport
from ..run import wanted_items
from .look import writer_of
from .order import Order

__all__ = ["idle_report", "keep_settings"]

logger = logging.getLogger("casr_net")

KIND = "settings"
"""What they are called in a :class:`casr_net.inference.runtimes.store.Store`."""


def idle_report(files: Sequence[str | Path], asked: Mapping[str, Any], inputs: Inputs) -> RunReport | None:
    """The report of a command that has nothing left to segment, with every file kept or refused; None where its
    settings are not known.

    Args:
        files: the base configuration and overlays, checked.
        asked: values by key of ``inference.json``.
        inputs: what was found, without work, see :class:`casr_net.inference.plans.look.FirstLook`.

    Raises:
        CASRError: as :func:`casr_net.inference.wanted_items` does.
    """
    order = Order([str(file) for file in files], asked)
    try:
        content = order.store.kept(KIND, order.key())
        if content is None:
            return None
        *settings, shown = json.loads(content)
        window = None if shown["window"] is None else (*shown["window"],)
    except Exception:  # the ordinary way knows what to do
        logger.debug("the kept settings cannot be used", exc_info=True)
        return None
    if inputs.window != window:
        return None
    report = RunReport(asked["output_dir"], "cpu", str(order.weights), settings, window, None, asked["areas"])
    return None if wanted_items(inputs, writer_of(order), report) else report


def keep_settings(files: Sequence[str | Path], asked: Mapping[str, Any], report: RunReport) -> None:
    """Keep the settings of a run on the CPU that has left no plan. Whatever is wrong, the run is not touched by it.

    Args:
        files, asked: see :func:`idle_report`; there may be a plan for them.
        report: of the run.
    """
    try:
        if report.run["device"] == "cpu":
            order = Order([str(file) for file in files], asked)
            order.store.put(KIND, order.key(), json.dumps(report.config).encode())
    except Exception:
        logger.debug("no settings are kept for the next run", exc_info=True)
