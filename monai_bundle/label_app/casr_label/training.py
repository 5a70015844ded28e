"""Training task: fine-tuning on what users have marked final, published only if it does not do worse on held labels."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import monai.bundle
import numpy as np
from filelock import FileLock, Timeout
from monai.bundle import ConfigParser
from monailabel.interfaces.datastore import Datastore
from monailabel.tasks.train.bundle import BundleTrainTask

from casr_net.errors import DataError, UsageError
from casr_net.evaluation.metrics import dice
from casr_net.files.atomic import write_atomically
from casr_net.uncertainty.temperature import fit_temperatures

from .cases import PATIENTS, Case, final_cases, held_out, too_few
from .inference import CASRInferTask
from .requests import BusyError, checked_request
from .scoring import mirrored_mean
from .state import Calibrations, StateFolder

__all__ = ["DEFAULTS", "CASRTrainTask"]

logger = logging.getLogger(__name__)

DEFAULTS: dict[str, Any] = {
    "max_epochs": 4, "samples_per_epoch": 64, "batch_size": 4, "crop_size": 256, "learning_rate": 2e-4,
    "val_split": 0.2, "resume": True, "rollback": "",
}  # fmt: skip
"""Parameters of a request and their defaults; our choice. ``rollback``: number of a version, to go back to it."""

_LIMITS = {
    "max_epochs": (1, 500), "samples_per_epoch": (1, 10000), "batch_size": (1, 64), "crop_size": (64, 1024),
    "learning_rate": (1e-7, 0.1), "val_split": (0.05, 0.5),
}  # fmt: skip

LAST = "last.ckpt"
"""Checkpoint of a run's last epoch, in its folder, as train.json names it."""
CONFIGS = ("train", "finetune")
"""Of the bundle's configurations: the base, and what fine-tuning changes."""
LOCK_SECONDS = 3.0
"""To wait for another training to end: one whose server was killed needs a moment to notice. Our choice."""
CALIBRATION_CASES = 3
"""Held frames that are needed for a new calibration; with fewer, that of the weights before stays. Our choice."""


class CASRTrainTask(BundleTrainTask):
    """MONAI Label's training of a bundle, on final labels. MONAI Label runs it in a process of its own.

    A part of the labels, chosen by patient so that it stays the same, is never trained on. The new weights become the
    next version in any case, and are used from then on if their mean Dice on the held labels is not below that of the
    weights in use; the held labels also give the version's calibration. A run that was killed goes on where its last
    epoch ended, if labels, options and weights are the same.

    Args:
        bundle: bundle folder.
        task: inference with the weights in use.
        state: where versions are kept.
    """

    def __init__(self, bundle: str, task: CASRInferTask, state: StateFolder) -> None:
        super().__init__(bundle, {}, load_strict=True)
        self._description = "Fine-tuning on final labels; published only if it does not do worse on held ones"
        self.task = task
        self.state = state

    def config(self) -> dict[str, Any]:
        return {"device": self.task.config().get("device", ["cpu"]), **DEFAULTS}

    def info(self) -> dict[str, Any]:
        return {**super().info(), "description": self._description, "version": self.state.current}

    def stats(self) -> dict[str, Any]:
        """Versions so far, and which is used; ``interrupted``: whether a run has not come to its end and can go on."""
        interrupted = (self.state.run / LAST).is_file()
        return {"current": self.state.current, "versions": self.state.history(), "interrupted": interrupted}

    def check(self, request: Mapping[str, Any], datastore: Datastore) -> None:
        """Refuse at once what a process of its own would refuse after it has started.

        Raises:
            UsageError: for a parameter out of its range, a version that is not there, or too few labels; PACSError.
        """
        rollback = _checked(request)["rollback"]
        if rollback != "":
            self.state.require(int(rollback))
            return
        patients = set()
        for image in sorted(datastore.get_labeled_images()):
            try:
                patients.add(datastore.patient(image))
            except DataError:  # the training leaves such an image out, too
                continue
            if len(patients) == PATIENTS:  # those of a PACS may have to be fetched
                return
        raise too_few(len(patients))

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train, or go back to a version.

        Returns:
            the record of the new version, or the version that is used now.

        Raises:
            UsageError: for a parameter out of its range, or too few labels; BusyError: while another training runs
            in the same folder, of another server maybe.
        """
        options = _checked(request)
        self.state.folder.mkdir(parents=True, exist_ok=True)
        try:
            # Of the system, so that it is free again when its owner is killed.
            with FileLock(self.state.folder / "train.lock", timeout=LOCK_SECONDS):
                if options["rollback"] != "":
                    self.state.use(int(options["rollback"]))
                    _say(f"version {self.state.current} is used now")
                    return {"version": self.state.current}
                return self._run(request, datastore, options)
        except Timeout as error:
            raise BusyError("another training is running in this folder; wait for its end.") from error

    def _run(self, request: dict[str, Any], datastore: Datastore, options: dict[str, Any]) -> dict[str, Any]:
        cases, skipped = final_cases(datastore)
        train, held = held_out(cases, options["val_split"])
        self._data, self._options = (train, held), options
        _say(f"{len(train)} labelled frames to train on, {len(held)} held, {len(skipped)} images left out")
        device = checked_request({"device": request.get("device")})["device"]
        before = self._dice(self.task, held, device)
        _say(f"Dice of version {self.state.current} on the held labels: {before:.4f}")
        resumed = self._prepare_run()
        super().__call__({**request, "device": device, "multi_gpu": False, "tracking": "None"}, datastore)
        weights = self.state.run / "model.pt"
        task = self.task.of(weights)
        after = self._dice(task, held, device)
        published = after >= before
        record = {
            "dice_before": round(before, 6), "dice_after": round(after, 6), "published": published,
            "base": self.state.current, "resumed": resumed, "train": [case.name for case in train],
            "held": [case.name for case in held], "left_out": skipped, "options": options,
            "calibration": self._calibrations(task, held, device).record(),
        }  # fmt: skip
        number = self.state.add(weights, record)
        if published:
            self.state.use(number)
        shutil.rmtree(self.state.run, ignore_errors=True)
        verdict = "is used from now on" if published else f"is kept, but version {self.state.current} stays in use"
        _say(f"Dice of version {number}: {after:.4f}; it {verdict}")
        return {"version": number, **record}

    def _prepare_run(self) -> bool:
        """Make the folder of the run, or keep it if the same run was killed; tells whether it goes on."""
        run, start = self.state.run, self.task.weights
        train, _ = self._data
        plan = {
            "options": self._options,
            "train": [case.fingerprint() for case in train],
            "weights": str(start.stat().st_mtime_ns),
        }
        file = run / "plan.json"
        same = self._options["resume"] and file.is_file() and file.read_text(encoding="utf-8") == json.dumps(plan)
        if not same:
            shutil.rmtree(run, ignore_errors=True)
        resumed = same and (run / LAST).is_file()
        if resumed:
            _say("going on with the run that was interrupted")
        run.mkdir(parents=True, exist_ok=True)
        write_atomically(file, lambda path: path.write_text(json.dumps(plan), encoding="utf-8"))
        return resumed

    # What MONAI Label's task asks for

    def _load_bundle_config(self, path: str, config: str) -> ConfigParser:
        self._configs = [str(Path(path) / "configs" / f"{name}.json") for name in CONFIGS]
        parser = ConfigParser()
        parser.read_config(self._configs)
        parser[self.const.key_bundle_root()] = path
        return parser

    def _fetch_datalist(self, request: dict[str, Any], datastore: Datastore) -> list[dict[str, Any]]:
        train, held = self._data
        return [case.item() for case in [*train, *held]]

    def _partition_datalist(
        self, datalist: list[dict[str, Any]], request: dict[str, Any], shuffle: bool = False
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        count = len(self._data[0])
        return datalist[:count], datalist[count:]

    def _load_checkpoint(self, model_pytorch: str, pretrained: bool, train_handlers: list[Any]) -> None:
        """Nothing: the weights to start from are named by :meth:`_update_overrides`."""

    def _update_overrides(self, overrides: dict[str, Any]) -> dict[str, Any]:
        options = self._options
        overrides.update(
            output_dir=str(self.state.run),
            initial_weights=str(self.task.weights),
            device=f"$torch.device('{overrides['device']}')",
            fold=-1,
            epochs=options["max_epochs"],
            samples_per_epoch=options["samples_per_epoch"],
            batch_size=min(options["batch_size"], options["samples_per_epoch"]),
            crop_size=[options["crop_size"]] * 2,
            learning_rate=options["learning_rate"],
            val_interval=options["max_epochs"] + 1,  # measured here, by the same inference as users get
        )
        overrides[self.const.key_train_trainer_max_epochs()] = options["max_epochs"]
        return overrides

    def run_single_gpu(self, request: dict[str, Any], overrides: dict[str, Any]) -> None:
        """Run the bundle's training in this process."""
        monai.bundle.run(config_file=self._configs, meta_file=self.bundle_metadata_path, **overrides)

    # Held labels

    def _dice(self, task: CASRInferTask, cases: list[Case], device: str) -> float:
        """Mean Dice of an inference task, contour refinement on, over held frames; 1 where both are empty."""
        options = checked_request({"device": device})
        return float(np.mean([dice(task.segment_frame(c.image, c.frame, options).mask, c.mask()) for c in cases]))

    def _calibrations(self, task: CASRInferTask, cases: list[Case], device: str) -> Calibrations:
        if len(cases) < CALIBRATION_CASES:
            return self.state.calibrations
        options = {**checked_request({"device": device}), "refine": False}
        labels = [case.mask() for case in cases]
        runs = [task.segment_frame(case.image, case.frame, options, one_pass=True) for case in cases]
        tta = [mirrored_mean(task, case.image, case.frame, options)[0] for case in cases]
        return Calibrations(fit_temperatures([run.probability for run in runs], labels), fit_temperatures(tta, labels))


def _checked(request: Mapping[str, Any]) -> dict[str, Any]:
    options = {key: request.get(key, value) for key, value in DEFAULTS.items()}
    for key, (low, high) in _LIMITS.items():
        value, kind = options[key], type(DEFAULTS[key])
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not low <= value <= high or (kind is int and value != int(value)):
            raise UsageError(f"{key} is {str(value)[:50]!r}; expected {low} to {high}.")
        options[key] = kind(value)
    if not isinstance(options["resume"], bool):
        raise UsageError(f"resume is {str(options['resume'])[:50]!r}; expected true or false.")
    if not str(options["rollback"]).isdigit() and options["rollback"] != "":
        raise UsageError(
            f"rollback is {str(options['rollback'])[:50]!r}; expected the number of a version, 0 for the first."
        )
    return options


def _say(text: str) -> None:
    # To the standard output: MONAI Label shows the last lines of it in /train/.
    print(f"casr_net: {text}", flush=True)
