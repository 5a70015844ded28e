"""A run after a plan: the same stages, writer and record as those of the configuration, without torch and MONAI."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...files.images import read_angiogram
from ...files.inputs import Inputs, find_inputs
from ...files.results import ResultWriter
from ..calibrated import WeightsCalibration
from ..frame_loop import FrameLoop, HasFrameLoop, frame_stages
from ..pipeline import Pipeline
from ..record import RunReport
from ..run import wanted_items
from ..runtimes.engines import OnnxEngine, OpenVINOEngine
from ..runtimes.quantised import find_quantised
from ..saving import FrameSaver
from ..threads import Shares, current_shares, planned, sharing, without_torch
from .order import Order
from .plan import KIND, NO_PLAN, Plan

__all__ = ["PlannedFrames", "PlannedNetwork", "PlannedRun", "planned_network", "planned_run"]

logger = logging.getLogger("casr_net")


class PlannedNetwork:
    """A :class:`casr_net.inference.filework.Network` after a plan.

    Args:
        plan: what is done with a frame.
        engine: the network, see :class:`casr_net.inference.runtimes.engines.OpenVINOEngine`.
        order: configurations, and what is asked for beside them.

    Attributes:
        used: name of the engine, once it has computed a frame.
        tta: of the plan.

    Raises:
        CASRError: for formats that cannot be used.
    """

    def __init__(self, plan: Plan, engine: OnnxEngine | OpenVINOEngine, order: Order) -> None:
        self.plan, self._engine, self.used, self.tta = plan, engine, "", plan.tta
        asked = order.asked
        self.writer = ResultWriter(
            asked["output_dir"], asked["format"], asked["overlay"], asked["probability"], asked["overwrite"],
            plan.window, order.weights,
        )  # fmt: skip
        assert order.weights is not None
        self.token_file, self.calibration = order.token_file, WeightsCalibration(order.weights, plan.tta)

    def frames(self, items: Sequence[dict[str, Any]], report: RunReport) -> PlannedFrames:
        """What goes through these frames."""
        return PlannedFrames(self, items, report)

    def logits(self, data: dict[str, Any]) -> dict[str, Any]:
        """``pred``, logits (1, X, Y), is added to the data."""
        self.used = self._engine.name
        return {**data, "pred": self.plan.logits(data["image"], self._engine.run, data["angiogram"].frames)}


class PlannedFrames(HasFrameLoop):
    """Stands in for :class:`casr_net.inference.FrameEvaluator` before :func:`casr_net.inference.run_inference`.

    Args:
        network: with the plan.
        items: the frames.
        report: takes what is to be noted.
    """

    def __init__(self, network: PlannedNetwork, items: Sequence[dict[str, Any]], report: RunReport) -> None:
        self.network, self.plan, self.items, self.report = network, network.plan, items, report
        # What refinement needs takes longer to import than a frame to compute.
        self._importing = threading.Thread(target=importlib.import_module, args=("skimage.morphology",), daemon=True)

    def run(self) -> None:
        """Go through the frames that are left."""
        with without_torch(self.plan.threads):
            alone = Shares(current_shares().total)
            with sharing(planned("cpu", len(self.items)) if self.plan.pipeline else alone):
                if self._loop is None:
                    self._importing.start()
                    self._loop = FrameLoop(self._pipeline(), self.report)
                save = FrameSaver(self.network.writer, self.report, self.network.calibration)
                for way in self._loop.done():
                    done = way.value
                    save(
                        way.item, done["pred"], done["probability"], done["image"][0], done["field"][0],
                        done["angiogram"], way.seconds,
                    )  # fmt: skip

    def close(self) -> None:
        """End the threads, also when frames are left."""
        super().close()
        if self._loop is not None:
            self._importing.join()

    def _pipeline(self) -> Pipeline:
        shares, plan = current_shares(), self.plan
        return Pipeline(
            frame_stages(self._decode, plan.prepare, self.network.logits, plan.refine, shares), self.items,
            shares.room if plan.pipeline else 1, lambda data: int(np.prod(data["angiogram"].size)),
        )  # fmt: skip

    def _decode(self, item: Mapping[str, Any]) -> dict[str, Any]:
        angiogram = read_angiogram(item["path"], self.plan.window)
        return {"image": angiogram.grey(item["frame"]), "angiogram": angiogram}


class PlannedRun:
    """A command that is done after a plan: what it is to segment, its record, and the network.

    Args:
        network: with the plan.
        order: configurations, and what is asked for beside them.
        inputs: what was found already, which is taken where it was looked at with the plan's window.

    Attributes:
        network: see there.
        report: of the run.
        items: frames that are to be segmented.

    Raises:
        CASRError: for inputs or an output folder that cannot be used.
    """

    def __init__(self, network: PlannedNetwork, order: Order, inputs: Inputs | None = None) -> None:
        self.network, asked, plan = network, order.asked, network.plan
        if inputs is None or inputs.window != plan.window:
            inputs = find_inputs(asked["inputs"], plan.window, asked["flat"], order.token_file)
        self.report = RunReport(
            asked["output_dir"], "cpu", str(order.weights), plan.settings, plan.window, network, asked["areas"]
        )
        self.items = wanted_items(inputs, network.writer, self.report)

    def frames(self) -> PlannedFrames | None:
        """What goes through all of them; None where there are none."""
        return self.network.frames(self.items, self.report) if self.items else None


def planned_run(
    files: Sequence[str | Path], asked: Mapping[str, Any], inputs: Inputs | None = None
) -> PlannedRun | None:
    """The run of a command whose plan is kept; None where there is none.

    Args:
        files: the base configuration and overlays, checked.
        asked: values by key of ``inference.json``.
        inputs: see :class:`PlannedRun`.

    Raises:
        CASRError: as :class:`PlannedNetwork` and :class:`PlannedRun`.
    """
    order = Order([str(file) for file in files], asked)
    network = planned_network(order)
    return None if network is None else PlannedRun(network, order, inputs)


def planned_network(order: Order) -> PlannedNetwork | None:
    """The network of a command whose plan is kept; None where there is none.

    Raises:
        CASRError: as :class:`PlannedNetwork`.
    """
    found = _kept(lambda: _prepared(order))
    if found is None:
        return None
    plan, engine = found
    return PlannedNetwork(plan, engine, order)


def _prepared(order: Order) -> tuple[Plan, OnnxEngine | OpenVINOEngine] | None:
    if not order.plain:
        return None
    store = order.store
    content = store.kept(KIND, order.key())
    if content is None or content == NO_PLAN:
        return None
    plan = Plan.of_json(content)
    if plan.choice is not None and store.kept("choice", plan.choice[0]) != plan.choice[1].encode():
        return None  # measured anew
    with without_torch(plan.threads):
        engine = engine_of(plan.engine, plan.model, order)
    return None if engine is None else (plan, engine)


def engine_of(name: str, model: dict[str, Any], order: Order) -> OnnxEngine | OpenVINOEngine | None:
    """The engine of a name, with a converted network that is kept, or one in 8 bits; None where it is not there, or
    torch is needed."""
    runtime, _, number_format = name.partition(" ")
    if runtime == "openvino" and number_format in ("int8", "int8+bf16"):
        quantised = find_quantised(model["network"], order.weights)
        if quantised is None or quantised.described != model:
            return None
        return OpenVINOEngine(quantised.model, number_format == "int8+bf16", quantised.weights)
    if runtime not in ("onnx", "openvino") or number_format not in ("fp32", "bf16"):
        return None
    content = order.store.kept("onnx", model)
    if content is None:
        return None
    return OnnxEngine(content) if runtime == "onnx" else OpenVINOEngine(content, number_format == "bf16")


def _kept(make: Callable[[], Any]) -> Any:
    """What ``make`` gives; None when anything is wrong with what was kept: the ordinary way knows what to do."""
    try:
        return make()
    except Exception:
        logger.debug("the kept plan cannot be used", exc_info=True)
        return None
