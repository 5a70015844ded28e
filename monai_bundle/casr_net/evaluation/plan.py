"""The plan of the evidence: which networks are trained on which folds, in which order, and what each of them is for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import DataError

__all__ = ["Run", "Stage", "Unit", "load_plan"]

KINDS = ("train", "labels")
FOLDS = 5
TRAINERS = ("bundle", "resident")
ITSELF = "itself"  # teacher of a stage: the network that it starts from
ALL = -1  # "fold" of a run on all of them


@dataclass(frozen=True)
class Stage:
    """One part of a training: it goes on from the weights of the part before, with other settings.

    Attributes:
        name: of its folder.
        images: budget, in images (crops) seen.
        epoch_images: images between two checkpoints, at most; what a kill can cost.
        labels: train on the pseudo-labels of the run's ``labels`` too.
        settings: values of ``train.json``, such as ``{"learning_rate": 0.001}``.
        seconds: of the clock, after which the stage ends in any case (resident trainer only).
        teacher: who completes the labels of the run's ``images`` for this stage (resident trainer only): "itself" is
            the network that the stage starts from, else a run whose network on the same fold does it. Without one the
            stage trains on the own sets alone.
    """

    name: str
    images: int
    epoch_images: int
    labels: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    teacher: str | None = None

    @property
    def epochs(self) -> int:
        """Number of epochs, rounded up, so that the budget is reached."""
        return -(-self.images // self.epoch_images)

    @property
    def images_seen(self) -> int:
        """Images that are really drawn."""
        return self.epochs * self.epoch_images


@dataclass(frozen=True)
class Run:
    """One line of the plan.

    Attributes:
        name: of the run; lower case, no spaces.
        purpose: what it is for.
        kind: "train" (a network), or "labels" (pseudo-labels by the network of ``teacher``).
        folds: each is one unit of work: fold k is held out, and evaluated; -1 holds out none.
        exclude_folds: held out too, and not evaluated (to choose a recipe without a look at them).
        seed: of the training.
        data: "own" (the sets of ``cases.csv``), or a set with published splits, a folder of the data: trained on its
            train split, evaluated on its val split.
        stenoses: set at whose stenoses, val split, the crossing rate is measured; None leaves it out.
        negatives: number of synthetic angiograms without contrast on which false vessels are counted; none of them is
            in a training.
        configs: overlays of ``train.json``, by name.
        network: overlays of ``inference.json`` for the evaluation, by name.
        settings: values that ``train.json`` and ``inference.json`` share, such as ``{"network_def#q": 1}``; of a
            labelling, values of ``inference.json`` over those of its teacher.
        pretrained: Python package with the encoder's ImageNet weights, or None for random ones.
        start: run whose weights this one starts from, on the same fold, or a unit such as "light-fold0".
        initial: file of the bundle's folder that it starts from instead, such as "models/model.pt": weights that ship,
            which have seen all folds.
        teacher: run or unit that labels.
        labels: run or unit of kind "labels".
        images: set that is labelled, a folder of the data.
        rule: fields of :class:`casr_net.training.PseudoLabelRule`.
        stages: of the training, in their order.
        trainer: "bundle" (that of ``train.json``) or "resident" (:func:`casr_net.training.train_resident`, for an
            accelerator).
    """

    name: str
    purpose: str
    kind: str = "train"
    folds: tuple[int, ...] = (0,)
    exclude_folds: tuple[int, ...] = ()
    seed: int = 1
    data: str = "own"
    stenoses: str | None = None
    negatives: int = 0
    configs: tuple[str, ...] = ()
    network: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    pretrained: str | None = None
    start: str | None = None
    initial: str | None = None
    teacher: str | None = None
    labels: str | None = None
    images: str = "arcade"
    rule: Mapping[str, float] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    trainer: str = "bundle"

    @property
    def needs(self) -> list[str]:
        """Names of the runs that must be finished, on the same fold, before this one."""
        teachers = [stage.teacher for stage in self.stages if stage.teacher not in (None, ITSELF)]
        named = (self.start, self.teacher, self.labels, *teachers)
        return list(dict.fromkeys(name for name in named if name is not None))

    @property
    def images_seen(self) -> int:
        """Images of all stages."""
        return sum(stage.images_seen for stage in self.stages)


@dataclass(frozen=True)
class Unit:
    """A run on one fold: what is done at a time, and has one result."""

    run: Run
    fold: int

    @property
    def name(self) -> str:
        return unit_name(self.run.name, self.fold)

    @property
    def needs(self) -> list[str]:
        return [unit_name(name, self.fold) for name in self.run.needs]

    @property
    def start(self) -> str | None:
        return None if self.run.start is None else unit_name(self.run.start, self.fold)

    @property
    def teacher(self) -> str:
        return unit_name(self.run.teacher or "", self.fold)

    @property
    def labels(self) -> str:
        return unit_name(self.run.labels or "", self.fold)

    @property
    def excluded(self) -> list[int]:
        """Folds that take no part in the training."""
        return sorted({self.fold, *self.run.exclude_folds} - {ALL})


def unit_name(run: str, fold: int) -> str:
    """Name of a run on a fold, as results and folders have it; a name that says its fold itself stays as it is."""
    if re.search(r"-(fold\d+|all)$", run):
        return run
    return f"{run}-all" if fold == ALL else f"{run}-fold{fold}"


def load_plan(path: str | Path) -> list[Unit]:
    """Read a plan and check it: the units of work in the order in which they are to be done.

    The file has a list ``runs`` (see :class:`Run`), each after those that it needs, and may have a list ``first``:
    names of units that are done before all others.

    Raises:
        DataError: naming the run and the value that is wrong.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: plan cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise DataError(f"{path}: plan is no JSON: {error}.") from error
    if not isinstance(content, dict) or not isinstance(content.get("runs"), list):
        raise DataError(f"{path}: plan has no list 'runs'.")
    units: dict[str, Unit] = {}
    learned: dict[str, set[int]] = {}
    for entry in content["runs"]:
        run = _run(path, entry)
        for fold in run.folds:
            unit = Unit(run, fold)
            if unit.name in units:
                raise DataError(f"{path}: {unit.name} stands twice in the plan.")
            for name in unit.needs:
                if name not in units:
                    raise DataError(f"{path}: {unit.name} needs {name}, which does not stand before it.")
                kind = "labels" if run.labels is not None and name == unit.labels else "train"
                if units[name].run.kind != kind:
                    raise DataError(f"{path}: {unit.name} needs {name}, which is of kind {units[name].run.kind!r}.")
            # What a network has seen passes on to those that start from it or are taught by it.
            learned[unit.name] = set().union(*(learned[name] for name in unit.needs))
            leaked = learned[unit.name] & set(unit.excluded)
            if leaked:
                raise DataError(f"{path}: {unit.name} holds out fold {min(leaked)}, which what it needs has seen.")
            if run.kind == "train" and run.data == "own":
                learned[unit.name] |= set(range(FOLDS)) - set(unit.excluded)
            units[unit.name] = unit
    first = content.get("first", [])
    unknown = [name for name in first if name not in units]
    if unknown:
        raise DataError(f"{path}: first: there is no unit {unknown[0]!r}.")
    return [units[name] for name in first] + [unit for name, unit in units.items() if name not in first]


def _run(path: Path, entry: Any) -> Run:
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name or set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789-_"):
        raise DataError(f"{path}: name of a run is {name!r}; it has lower-case letters, digits, - and _ only.")
    stages = tuple(_made(path, name, Stage, stage) for stage in entry.get("stages", []))
    lists = {key: tuple(entry[key]) for key in ("folds", "exclude_folds", "configs", "network") if key in entry}
    run: Run = _made(path, name, Run, {**entry, **lists, "stages": stages})
    if unit_name(name, 0) == name:
        raise DataError(f"{path}: name of a run is {name!r}; it does not end in a fold.")
    if run.kind not in KINDS:
        raise DataError(f"{path}: {name}: kind is {run.kind!r}; known are {', '.join(KINDS)}.")
    if run.trainer not in TRAINERS:
        raise DataError(f"{path}: {name}: trainer is {run.trainer!r}; known are {', '.join(TRAINERS)}.")
    if (run.kind == "train") != bool(stages) or (run.kind == "labels") != (run.teacher is not None):
        raise DataError(f"{path}: {name}: a training has stages and no teacher, a labelling a teacher and no stages.")
    if run.initial is not None and (run.start is not None or set(run.folds) != {ALL}):
        raise DataError(
            f"{path}: {name}: {run.initial} has seen all folds; it starts runs on fold {ALL}, without 'start'."
        )
    if not run.folds or any(fold < ALL for fold in run.folds):
        raise DataError(
            f"{path}: {name}: folds are {list(run.folds)}; at least one from -1 (all of them) on is needed."
        )
    for stage in stages:
        if not 0 < stage.epoch_images <= stage.images:
            raise DataError(
                f"{path}: {name}, {stage.name}: epoch_images is {stage.epoch_images}; 1 to {stage.images} are possible."
            )
        if run.trainer != "resident" and (stage.teacher is not None or stage.seconds is not None):
            raise DataError(f"{path}: {name}, {stage.name}: teacher and seconds are for the trainer 'resident' only.")
        if run.trainer == "resident" and stage.labels:
            raise DataError(f"{path}: {name}, {stage.name}: the trainer 'resident' takes a teacher in place of labels.")
        if stage.labels and run.labels is None:
            raise DataError(f"{path}: {name}, {stage.name}: trains on pseudo-labels, but the run names no 'labels'.")
    if len({stage.name for stage in stages}) < len(stages):
        raise DataError(f"{path}: {name}: two stages have the same name.")
    return run


def _made(path: Path, name: str, kind: type, entry: Mapping[str, Any]) -> Any:
    unknown = sorted(set(entry) - {item.name for item in fields(kind)})
    if unknown:
        raise DataError(f"{path}: {name}: unknown key {unknown[0]!r}.")
    try:
        return kind(**entry)
    except TypeError as error:
        raise DataError(f"{path}: {name}: {error}.") from error
