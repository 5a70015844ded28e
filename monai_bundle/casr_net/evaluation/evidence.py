"""One unit of the plan from start to result: training in stages, pseudo-labels, evaluation on the held-out fold."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events

from .. import Segmenter, __version__
from ..errors import DataError
from ..files import read_mask
from ..inference import bundle_root
from ..network import sha256
from ..training import PseudoLabelRule, load_cases, uses_bfloat16, write_pseudo_labels
from .metrics import Counts, count_pixels, image_metrics, pooled_metrics
from .pace import Pace
from .plan import ALL, Stage, Unit

__all__ = ["Workshop", "work"]

logger = logging.getLogger(__name__)
MASKS = ("refined", "threshold")


@dataclass(frozen=True)
class Workshop:
    """Where everything lies.

    Attributes:
        data: folder of ``cases.csv``.
        state: checkpoints and whatever else lets a run go on; one folder a unit.
        results: one JSON a finished unit.
        settings: of ``train.json`` for every training, over those of the plan (tests make everything small with it).
        inference: likewise of ``inference.json``.
    """

    data: Path
    state: Path
    results: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    inference: Mapping[str, Any] = field(default_factory=dict)

    def folder(self, unit: str) -> Path:
        return self.state / unit

    def result(self, unit: str) -> Path:
        return self.results / f"{unit}.json"

    def weights(self, unit: str) -> Path:
        """Final weights of a finished training."""
        return self.folder(unit) / "model.pt"

    def finished(self, unit: str) -> bool:
        return self.result(unit).is_file()

    def ready(self, unit: str) -> bool:
        """Finished, and what it has made is on this machine."""
        return self.finished(unit) and (self.weights(unit).is_file() or (self.folder(unit) / "labels").is_dir())


def work(unit: Unit, shop: Workshop, pace: Pace) -> dict[str, Any]:
    """Do one unit of the plan, from wherever it was stopped, and write its result.

    Returns:
        the result.

    Raises:
        Stopped: when ``pace`` says so; the next call goes on.
        CASRError: when data or weights cannot be used.
    """
    folder = shop.folder(unit.name)
    folder.mkdir(parents=True, exist_ok=True)
    with _usage(folder) as usage:
        result = _labels(unit, shop, pace) if unit.run.kind == "labels" else _training(unit, shop, pace, usage)
    record = {
        "name": unit.name,
        "purpose": unit.run.purpose,
        "fold": unit.fold,
        "seed": unit.run.seed,
        "images_seen": unit.run.images_seen,
        **result,
        "plan": asdict(unit.run),
        "usage": _summary(folder),
    }
    _write_json(shop.result(unit.name), record)
    return record


def _training(unit: Unit, shop: Workshop, pace: Pace, usage: Any) -> dict[str, Any]:
    folder, hashes = shop.folder(unit.name), {}
    weights: Path | None = (
        None if unit.run.start is None else shop.weights(unit.needs[unit.run.needs.index(unit.run.start)])
    )
    for stage in unit.run.stages:
        place = folder / stage.name
        config = _config(unit, stage, place, shop)
        hashes[stage.name] = sha256(config)
        if not (place / "model.pt").is_file():
            logger.info("%s, %s: %d images.", unit.name, stage.name, stage.epochs * stage.epoch_images)
            _train(unit, stage, config, weights, shop, pace, usage)
        weights = place / "model.pt"
    assert weights is not None
    final = shop.weights(unit.name)
    if not final.is_file():
        temporary = final.with_name(f".{final.name}.part")
        temporary.write_bytes(weights.read_bytes())
        os.replace(temporary, final)
    result: dict[str, Any] = {"config_sha256": hashes, "weights_sha256": sha256(final)}
    return result if unit.fold == ALL else result | _evaluation(unit, shop, pace)


def _config(unit: Unit, stage: Stage, place: Path, shop: Workshop) -> Path:
    """The stage's whole configuration, as it was when the stage began: later changes of the files do not touch it."""
    from monai.bundle import ConfigParser

    path = place / "config.json"
    if path.is_file():
        return path
    configs = bundle_root() / "configs"
    names = ["train", *unit.run.configs, *(["selftraining"] if stage.labels else [])]
    parser = ConfigParser()
    parser.read_config([str(configs / f"{name}.json") for name in names])
    if stage is unit.run.stages[0] and unit.run.start is None and unit.run.pretrained is not None:
        parser.update({"pretrained": _encoder_weights(unit.run.pretrained)})
    parser.update(
        {
            "fold": unit.fold,
            "exclude_folds": unit.excluded,
            "seed": unit.run.seed,
            "samples_per_epoch": stage.epoch_images,
            "epochs": stage.epochs,
            # Nothing is chosen by validation: the held-out fold is looked at once, at the end.
            "validate#dataset#data": [],
            **stage.settings,
            **shop.settings,
        }
    )
    _write_json(path, parser.get())
    return path


def _train(
    unit: Unit, stage: Stage, config: Path, weights: Path | None, shop: Workshop, pace: Pace, usage: Any
) -> None:
    from monai.bundle import ConfigWorkflow

    paths: dict[str, Any] = {
        "bundle_root": str(bundle_root()),
        "dataset_dir": str(shop.data),
        "output_dir": str(config.parent),
        "initial_weights": None if weights is None else str(weights),
    }
    if stage.labels:
        assert unit.run.labels is not None
        name = unit.needs[unit.run.needs.index(unit.run.labels)]
        paths["pseudo_labels"] = str(shop.folder(name))
    workflow = ConfigWorkflow(
        config_file=str(config),
        meta_file=str(bundle_root() / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type="train",
        **paths,
    )
    workflow.initialize()
    trainer = workflow.trainer
    pace.attach(trainer)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: usage())
    workflow.run()
    workflow.finalize()


def _labels(unit: Unit, shop: Workshop, pace: Pace) -> dict[str, Any]:
    (teacher,) = unit.needs
    segmenter = Segmenter(device="cpu", weights=str(shop.weights(teacher)), **shop.inference)
    rows = []
    rule = PseudoLabelRule(**unit.run.rule)
    for row in write_pseudo_labels(shop.data / unit.run.images, shop.folder(unit.name), segmenter, rule):
        rows.append(row)
        pace()
    means = {name: statistics.fmean(row[name] for row in rows) for name in ("vessel", "unknown")}
    return {"teacher_sha256": sha256(shop.weights(teacher)), "images": len(rows), "mean_share": means}


def _evaluation(unit: Unit, shop: Workshop, pace: Pace) -> dict[str, Any]:
    """Every image of the held-out fold by the bundle's own inference, at native size, with and without stage 3."""
    path = shop.folder(unit.name) / "evaluation.jsonl"
    rows = {row["name"]: row for row in _read_lines(path)}
    segmenter: Segmenter | None = None
    for case in load_cases(shop.data, only_folds=[unit.fold]):
        if case["name"] in rows:
            continue
        pace()
        if segmenter is None:
            segmenter = Segmenter(
                list(unit.run.network), device="cpu", weights=str(shop.weights(unit.name)), **shop.inference
            )
        found, truth = segmenter(case["image"]), read_mask(case["label"])[..., 0].T
        row: dict[str, Any] = {"name": case["name"], "dataset": case["dataset"]}
        for kind, mask in zip(MASKS, (found.mask, found.probability >= 0.5), strict=True):
            counts = count_pixels(mask, truth)
            values = image_metrics(mask, truth, counts)
            row[kind] = {key: round(value, 5) for key, value in values.items()} | {"counts": astuple(counts)}
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        rows[row["name"]] = row
    return {"metrics": summarise(list(rows.values())), "cases": list(rows.values())}


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean of the images and figures pooled over all pixels, of each data set and of both together."""
    tables: dict[str, Any] = {}
    for dataset in (*dict.fromkeys(row["dataset"] for row in rows), "together"):
        own = [row for row in rows if dataset in (row["dataset"], "together")]
        tables[dataset] = {"images": len(own)}
        for kind in MASKS:
            names = [name for name in own[0][kind] if name != "counts"]
            pooled = pooled_metrics([Counts(*row[kind]["counts"]) for row in own])
            tables[dataset][kind] = {
                "mean": {name: round(statistics.fmean(row[kind][name] for row in own), 5) for name in names},
                "pooled": {name: round(value, 5) for name, value in pooled.items()},
            }
    return tables


def _encoder_weights(package: str) -> str:
    found = importlib.util.find_spec(package)
    files = [] if found is None else [p for s in found.submodule_search_locations or () for p in Path(s).rglob("*.pth")]
    if len(files) != 1:
        raise DataError(f"Python package {package!r}: {len(files)} files of weights (*.pth) found; 1 is needed.")
    return str(files[0])


@contextmanager
def _usage(folder: Path) -> Iterator[Any]:
    """Add up what a unit uses over all its starts; a kill loses what came after the last epoch."""
    path = folder / "usage.jsonl"
    began = {"wall": time.time(), "cpu": _cpu_seconds()}
    entry = {"started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **_code(), "hardware": _hardware()}
    before = _read_lines(path)

    def note() -> None:
        entry["wall_seconds"] = round(time.time() - began["wall"], 1)
        entry["cpu_seconds"] = round(_cpu_seconds() - began["cpu"], 1)
        temporary = path.with_name(f".{path.name}.part")
        temporary.write_text("".join(json.dumps(line) + "\n" for line in (*before, entry)), encoding="utf-8")
        os.replace(temporary, path)

    note()
    try:
        yield note
    finally:
        note()


def _summary(folder: Path) -> dict[str, Any]:
    starts = _read_lines(folder / "usage.jsonl")
    return {
        "cpu_hours": round(sum(start["cpu_seconds"] for start in starts) / 3600, 3),
        "wall_hours": round(sum(start["wall_seconds"] for start in starts) / 3600, 3),
        "starts": starts,
    }


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _code() -> dict[str, Any]:
    """Version of the package and, in a checkout, the commit and whether files differ from it."""
    try:
        git = ["git", "-C", str(bundle_root())]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {"version": __version__}
    return {"version": __version__, "commit": commit, "changed": bool(changed.stdout.strip())}


def _hardware() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    return {
        "cpu": model,
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bfloat16": uses_bfloat16(),
        "torch": torch.__version__,
    }


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """JSON objects, one a line; a last line that a kill has cut off is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)
