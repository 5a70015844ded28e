"""Training task: fine-tuning on what users have marked final, published only if it does not do worse on held labels."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import monai.bundle
import numpy as np
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.train import TrainTask

from casr_net.errors import DataError, UsageError
from casr_net.images import read_angiogram
from casr_net.masks import read_mask
from casr_net.writers import write_atomically

from .inference import CASRInferTask
from .requests import checked_request
from .state import StateFolder

__all__ = ["DEFAULTS", "CASRTrainTask", "held_out"]

logger = logging.getLogger(__name__)

DEFAULTS: dict[str, Any] = {
    "max_epochs": 4, "samples_per_epoch": 64, "batch_size": 4, "crop_size": 256, "learning_rate": 2e-4,
    "val_share": 0.2, "resume": True, "rollback": "",
}  # fmt: skip
"""Parameters of a request and their defaults; our choice. ``rollback``: number of a version, to go back to it."""

_LIMITS = {
    "max_epochs": (1, 500), "samples_per_epoch": (1, 10000), "batch_size": (1, 64), "crop_size": (64, 1024),
    "learning_rate": (1e-7, 0.1), "val_share": (0.05, 0.5),
}  # fmt: skip


class CASRTrainTask(TrainTask):
    """Trains on final labels of single-frame images. MONAI Label runs it in a process of its own.

    A part of the labels, chosen by the images' names so that it stays the same, is never trained on. The new weights
    become the next version in any case, and are used from then on if their mean Dice on the held labels is not below
    that of the weights in use. A run that was killed goes on where its last epoch ended, if the labels are the same.

    Args:
        bundle: bundle folder.
        task: inference with the weights in use.
        state: where versions are kept.
    """

    def __init__(self, bundle: str, task: CASRInferTask, state: StateFolder) -> None:
        super().__init__("Fine-tuning on final labels; published only if it does not do worse on held ones")
        self.bundle = Path(bundle)
        self.task = task
        self.state = state

    def config(self) -> dict[str, Any]:
        return {"device": self.task.config().get("device", ["cpu"]), **DEFAULTS}

    def info(self) -> dict[str, Any]:
        return {**super().info(), "version": self.state.current}

    def stats(self) -> dict[str, Any]:
        """Versions so far, and which is used."""
        return {"current": self.state.current, "versions": self.state.history()}

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train, or go back to a version.

        Returns:
            the record of the new version, or the version that is used now.

        Raises:
            UsageError: for a parameter out of its range, or too few labels; DataError: when a label cannot be read.
        """
        options = _checked(request)
        if options["rollback"] != "":
            self.state.use(int(options["rollback"]))
            _say(f"version {self.state.current} is used now")
            return {"version": self.state.current}
        cases, skipped = _cases(datastore)
        train, held = held_out(cases, options["val_share"])
        _say(f"{len(train)} labels to train on, {len(held)} held, {len(skipped)} left out")
        device = checked_request({"device": request.get("device")})["device"]
        before = self._dice(self.task, held, device)
        _say(f"Dice of version {self.state.current} on the held labels: {before:.4f}")
        weights, resumed = self._train(train, held, options, device)
        after = self._dice(CASRInferTask(str(self.bundle), {}, weights), held, device)
        published = after >= before
        record = {
            "dice_before": round(before, 6), "dice_after": round(after, 6), "published": published,
            "base": self.state.current,
            "resumed": resumed, "train": [case["name"] for case in train],
            "held": [case["name"] for case in held], "left_out": skipped, "options": options,
        }  # fmt: skip
        number = self.state.add(weights, record)
        if published:
            self.state.use(number)
        shutil.rmtree(self.state.run, ignore_errors=True)
        verdict = "is used from now on" if published else f"is kept, but version {self.state.current} stays in use"
        _say(f"Dice of version {number}: {after:.4f}; it {verdict}")
        return {"version": number, **record}

    def _train(
        self, train: list[dict[str, Any]], held: list[dict[str, Any]], options: dict[str, Any], device: str
    ) -> tuple[Path, bool]:
        """Run the bundle's training; gives the file of the new weights, and whether a run that was killed went on."""
        run, start = self.state.run, self.task.weights
        plan = {
            "options": options,
            "train": [_fingerprint(case) for case in train],
            "weights": str(start.stat().st_mtime_ns),
        }
        file = run / "plan.json"
        same = options["resume"] and file.is_file() and file.read_text(encoding="utf-8") == json.dumps(plan)
        resumed = same and (run / "last.pt").is_file()
        if not same:
            shutil.rmtree(run, ignore_errors=True)
        if resumed:
            _say("going on with the run that was interrupted")
        run.mkdir(parents=True, exist_ok=True)
        write_atomically(file, lambda path: path.write_text(json.dumps(plan), encoding="utf-8"))
        configs = [str(self.bundle / "configs" / f"{name}.json") for name in ("train", "light", "finetune")]
        monai.bundle.run(
            config_file=configs,
            meta_file=str(self.bundle / "configs" / "metadata.json"),
            bundle_root=str(self.bundle),
            output_dir=str(run),
            initial_weights=str(start),
            device=f"$torch.device('{device}')",
            fold=-1,
            epochs=options["max_epochs"],
            samples_per_epoch=options["samples_per_epoch"],
            batch_size=min(options["batch_size"], options["samples_per_epoch"]),
            crop_size=[options["crop_size"]] * 2,
            learning_rate=options["learning_rate"],
            val_interval=options["max_epochs"] + 1,  # measured here, by the same inference as users get
            **{"train#cases": train, "validate#cases": held},
        )
        return run / "model.pt", resumed

    def _dice(self, task: CASRInferTask, cases: list[dict[str, Any]], device: str) -> float:
        """Mean Dice of an inference task, contour refinement on, over labels; 1 where both are empty."""
        options = checked_request({"device": device})
        return float(np.mean([_dice(task.segment_frame(c["image"], 0, options).mask, c["label"]) for c in cases]))


def held_out(cases: Sequence[dict[str, Any]], share: float) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Cases to train on, and cases that are held, by a hash of their names; at least one of each.

    Raises:
        UsageError: for fewer than two cases.
    """
    if len(cases) < 2:
        raise UsageError(f"{len(cases)} final label(s) of single frames; at least 2 are needed, one of them is held.")
    ranked = sorted(cases, key=lambda case: hashlib.sha256(case["name"].encode()).hexdigest())
    limit = share * 2**64
    held = [c for c in ranked if int(hashlib.sha256(c["name"].encode()).hexdigest()[:16], 16) < limit]
    held = (held or ranked[:1])[: len(ranked) - 1]
    names = {case["name"] for case in held}
    return [case for case in cases if case["name"] not in names], held


def _cases(datastore: Datastore) -> tuple[list[dict[str, Any]], list[str]]:
    """Final labels of single-frame images, and the names of the others."""
    cases, skipped = [], []
    for image_id in sorted(datastore.get_labeled_images()):
        image = datastore.get_image_uri(image_id)
        label = datastore.get_label_uri(image_id, DefaultLabelTag.FINAL)
        if read_angiogram(image).frames != 1:
            skipped.append(image_id)
            continue
        cases.append({"image": image, "label": label, "dataset": "studies", "name": image_id, "fold": 0})
    return cases, skipped


def _checked(request: dict[str, Any]) -> dict[str, Any]:
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


def _dice(mask: np.ndarray, label: str) -> float:
    wanted = read_mask(label)
    if wanted.shape[:2] != mask.shape:
        raise DataError(f"{label}: {wanted.shape[:2]} pixels; the image has {mask.shape}.")
    total = int(mask.sum()) + int(wanted.sum())
    return 1.0 if total == 0 else 2.0 * int((mask.astype(bool) & wanted[..., 0]).sum()) / total


def _fingerprint(case: dict[str, Any]) -> list[Any]:
    return [case["name"], *(Path(case[key]).stat().st_mtime_ns for key in ("image", "label"))]


def _say(text: str) -> None:
    # To the standard output: MONAI Label shows the last lines of it in /train/.
    print(f"casr_net: {text}", flush=True)
