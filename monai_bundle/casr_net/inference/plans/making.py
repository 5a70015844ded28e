"""After a run of the ordinary way: a plan for the next one, if all of its parts are known, and give the same."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from monai.transforms import Compose, DivisiblePadd, Invertd
from monai.utils import Method

from ...preprocessing.load import LoadAngiogramd, image_tensor
from ...preprocessing.transforms import FieldOfViewd, MultichannelPreprocessd, ResizeLongestd
from ...refinement.fieldmask import MaskOutsideFieldd
from ...refinement.transform import Probabilityd, RefineVesselsd
from ..bundle import build, bundle_root
from ..evaluator import FrameEvaluator
from ..label_form import LabelSliced
from ..predict import WHOLE, FrameInferer, predict
from ..record import RunReport
from ..threads import current_shares
from .order import Order
from .plan import KIND, Plan, Preparation
from .run import engine_of

__all__ = ["keep_plan", "run_on_sample"]

logger = logging.getLogger("casr_net")

PREPARING = (
    LoadAngiogramd, ResizeLongestd, FieldOfViewd, MultichannelPreprocessd, DivisiblePadd, DivisiblePadd,
)  # fmt: skip
FINISHING = (Probabilityd, MaskOutsideFieldd, Invertd, RefineVesselsd, LabelSliced)


def keep_plan(
    files: Sequence[str | Path], asked: Mapping[str, Any], parser: Any, threads: int | None = None, last: bool = False
) -> bool:
    """Keep a plan for the next run of the same command. Whatever is wrong, the run that is done is not touched by it.

    Args:
        files: the base configuration and overlays.
        asked: values by key of ``inference.json``.
        parser: of the run, which has segmented a frame.
        threads: that the process was given; None: as torch has them.
        last: no frame follows, so that memory of the parser's inferer may be given back.

    Returns:
        whether there is one now.
    """
    try:
        order = Order([str(file) for file in files], asked, threads)
        plan = _plan(order, parser) if order.plain else None
        if plan is None or not _gives_the_same(plan, order, parser, last):
            return False
        order.store.put(KIND, order.key(), plan.as_json())
        return True
    except Exception:
        logger.debug("no plan is kept for the next run", exc_info=True)
        return False


def _plan(order: Order, parser: Any) -> Plan | None:
    """The plan of a run whose parts are all known."""
    evaluator, inferer, report = (build(parser, name) for name in ("evaluator", "inferer", "report"))
    kinds = (type(evaluator), type(inferer), type(report))
    if kinds != (FrameEvaluator, FrameInferer, RunReport) or report.run["device"] != "cpu":
        return None
    if order.weights != str(build(parser, "weights")):
        return None
    engine, given = inferer.used, inferer.store.given
    kind = "int8" if " int8" in engine else "onnx"
    if not engine or engine.startswith("torch") or kind not in given:
        return None
    preparing = list(_flat(evaluator.dataset.transform))
    finishing = list(_flat(evaluator.steps))
    if not _are(preparing, PREPARING) or not _are(finishing, FINISHING):
        return None
    _, resize, _, channels, pad, pad_field = preparing
    _, outside, _, refine, _ = finishing
    if not _pads(pad, "edge", pad.padder.k) or not _pads(pad_field, "constant", pad.padder.k):
        return None
    if (resize.spatial_size + pad.padder.k) ** 2 > WHOLE:
        return None  # frames may go through the network in tiles
    choice = None
    if "choice" in given:
        content = inferer.store.kept("choice", given["choice"])
        if content is None:
            return None  # it could not be kept
        choice = (given["choice"], content.decode())
    return Plan(
        engine=engine, model=given[kind], choice=choice, threads=current_shares().total,
        settings=report.config[:-1], tta=inferer.tta, window=evaluator.window, pipeline=evaluator.pipelined,
        preparation=Preparation(
            resize.spatial_size, resize.anti_aliasing, channels.channels, channels.clip_limit, channels.tiles,
            channels.alpha, channels.sigma_fraction, int(pad.padder.k),
        ),
        margin=outside.margin, refinement=refine.parameters,
    )  # fmt: skip


def _gives_the_same(plan: Plan, order: Order, parser: Any, last: bool) -> bool:
    """Whether a plan, as it will be read, gives mask and probabilities of the ordinary way, to the last bit, on a part
    of the shipped sample that has to be resized and padded."""
    grey = _sample_part()
    # Of an image of one frame and of a cine, which may go through the network in other ways.
    expected = {frames: run_on_sample(parser, frames) for frames in (1, 2)}
    if last:
        build(parser, "inferer").release()
    engine = engine_of(plan.engine, plan.model, order)
    if engine is None:
        return False
    kept = Plan.of_json(plan.as_json())
    data = kept.prepare({"image": grey})
    for frames, asked in expected.items():
        found = kept.refine({**data, "pred": kept.logits(data["image"], engine.run, frames)})
        if not all(np.array_equal(found[name], asked[name][0].numpy()) for name in ("pred", "probability")):
            return False
    return True


def run_on_sample(parser: Any, frames: int | None = None) -> dict[Any, Any]:
    """The ordinary way for the part of the shipped sample on which plans are tried, on the CPU.

    Args:
        parser: of a run.
        frames: what the sample's file is said to have.

    Raises:
        CASRError: when configuration, weights or runtime cannot be used.
        OSError, ValueError: when the sample is missing or damaged.
    """
    network, channels, inferer, postprocessing = (
        build(parser, name) for name in ("network", "channels", "inferer", "postprocessing")
    )
    data = {"image": image_tensor(_sample_part(), np.eye(4), frames=frames)}
    return predict(data, channels, network.eval(), inferer, postprocessing, "cpu")


def _sample_part() -> np.ndarray:
    """Grey (X, Y) in [0, 1], of a size that has to be resized and padded."""
    path = bundle_root() / "sample" / "images" / "angiogram.png"
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise ValueError(f"{path} is damaged")
    return np.ascontiguousarray(pixels[:300, :400].T, np.float32) / 255


def _flat(transform: Any) -> Iterator[Any]:
    """The steps of a transform, those of a ``Compose`` in its place."""
    if type(transform) is Compose:
        for step in transform.transforms:
            yield from _flat(step)
    else:
        yield transform


def _are(steps: list[Any], kinds: Sequence[type]) -> bool:
    """Whether these are the shipped steps, in order, on the shipped entries of the data."""
    return [type(step) for step in steps] == list(kinds) and all(map(_usual, steps))


def _usual(step: Any) -> bool:
    """Whether a step reads and writes the entries that those of ``inference.json`` do."""
    expected: dict[type, dict[str, Any]] = {
        LoadAngiogramd: {"keys": ("image",), "frame_key": "frame"},
        ResizeLongestd: {"keys": ("image",)},
        FieldOfViewd: {"keys": ("image",), "field_key": "field"},
        MultichannelPreprocessd: {"keys": ("image",), "field_key": "field"},
        Probabilityd: {"keys": ("pred",)},
        MaskOutsideFieldd: {"keys": ("pred",), "field_key": "field"},
        Invertd: {"keys": ("pred",), "orig_keys": ("image",), "nearest_interp": (False,)},
        RefineVesselsd: {"keys": ("pred",), "probability_key": "probability"},
        LabelSliced: {"keys": ("pred",)},
    }
    return all(getattr(step, name) == value for name, value in expected.get(type(step), {}).items())


def _pads(step: Any, mode: str, k: Any) -> bool:
    """Whether a ``DivisiblePadd`` pads to multiples of k, on both sides alike."""
    padder = step.padder
    usual = padder.method == Method.SYMMETRIC and not padder.kwargs and isinstance(k, int) and padder.k == k
    return usual and step.mode == (mode,) and step.keys == ("image" if mode == "edge" else "field",)
