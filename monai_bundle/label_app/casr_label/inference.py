"""Inference task: the bundle's own transforms, network and refinement, with results on the source's grid."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose
from monailabel.tasks.infer.bundle import BundleInferTask

from casr_net.errors import DataError, UsageError
from casr_net.files.dicom_seg import write_segmentation
from casr_net.files.images import Angiogram, read_angiogram
from casr_net.files.maps import write_map
from casr_net.files.stacks import Stack
from casr_net.inference.mirrored import AUTO, is_mirrored
from casr_net.inference.predict import predict
from casr_net.preprocessing.load import image_tensor
from casr_net.refinement.contours import RefinementParameters
from casr_net.refinement.transform import RefineVesselsd
from casr_net.uncertainty.entropy import entropy_map, entropy_score
from casr_net.uncertainty.quality import soft_dice_confidence

from .measuring import KEY, Findings, SharedSegmenter, checked_extras
from .requests import RESULTS, checked_request, frame_choice, tta_setting
from .state import Calibrations
from .turns import OneByOne

__all__ = ["CASRDropoutTask", "CASRInferTask", "FrameResult"]


Step = Callable[[dict[Any, Any]], dict[Any, Any]]

OPTIONS: dict[str, Any] = {"frame": "all", "threshold": 0.5, "refine": True, "result": list(RESULTS)}
"""Parameters of a request that clients show to their users, with their defaults; the first of a list is the default."""


@dataclasses.dataclass(frozen=True)
class FrameResult:
    """One frame.

    Attributes:
        mask: uint8 (X, Y), 0 or 1.
        probability: float32 (X, Y), before refinement.
        mirrored: whether it is the mean over the frame and its mirror images.
    """

    mask: np.ndarray
    probability: np.ndarray
    mirrored: bool


class CASRInferTask(BundleInferTask):
    """Segments one frame, or all of them, of an image that :func:`casr_net.files.read_angiogram` knows.

    Parameters of a request, beside MONAI Label's own: ``frame`` (number from 0, "all", the default, or "key": the key
    frames), ``threshold``, ``refine``, those of :func:`measuring.checked_extras`, and ``result``: "mask" (uint8, vessel
    = 1; 255 in PNG), "probability" or "uncertainty" (entropy in bits; both float32, in PNG 0 to 255).
    Images of one frame are segmented with their mirror images, as the bundle does it, unless the app's ``tta`` says
    otherwise. The answer's ``params`` hold ``uncertainty``, a score from 0 to 1, ``quality``, the Dice coefficient that
    the probabilities promise the mask, and ``pixels``, by frame; and what :class:`measuring.Findings` tells.

    Probabilities that uncertainty and quality are computed from are calibrated; masks and the result "probability" are
    the network's own.

    Args:
        path: bundle folder.
        conf: of the app; ``tta``: "auto", "true" or "false", see :class:`casr_net.inference.FrameInferer`.
        published: weights that are used as soon as they are there, in place of the bundle's; they are loaded anew when
            they change.
        dropout: probability of the decoder's dropout, see :class:`CASRDropoutTask`.
        calibrations: gives those of the weights in use.

    Attributes:
        alone: does the work on a frame, so that requests take turns frame by frame; work given to it has the task, its
            network and its transforms for itself.

    Raises:
        UsageError: for another ``tta``.
    """

    def __init__(
        self,
        path: str,
        conf: dict[str, str],
        published: Path | None = None,
        dropout: float = 0.0,
        calibrations: Callable[[], Calibrations] = Calibrations,
    ) -> None:
        super().__init__(path, conf, add_post_restore=False, dropout=dropout, load_strict=True)
        # The choice of a file by its name in a request is not offered: the published weights are the ones to be used.
        self._config.pop("model_filename", None)
        self._config.update(OPTIONS)
        self.conf = conf
        self.bundle_config["tta"] = tta_setting(conf.get("tta", AUTO))
        self.calibrations = calibrations
        # MONAI Label takes the last of these files that is there.
        self.path: list[str] = [*self.path, *([str(published)] if published is not None else [])]
        self.alone = OneByOne()
        self._parts: dict[str, Any] = {}
        self._making = threading.Lock()

    def __call__(self, request: Mapping[str, Any], callbacks: Any = None) -> tuple[str | None, dict[str, Any]]:
        """Returns a temporary file with the result, and the parameters of the answer. MONAI Label's callbacks are not
        used.

        Raises:
            UsageError: for a parameter that is not allowed; DataError: when the image cannot be used.
        """
        path = request.get("image")
        if not isinstance(path, str):
            raise DataError("image: expected a file.")
        checked = checked_request(request)
        source = read_angiogram(path)  # held as long as the request, so that a cine is opened once
        chosen = None if request.get("frame") == KEY else request.get("frame")
        frames = frame_choice(chosen, source.frames, Path(path).name)
        extras = checked_extras(request)
        if extras.only_key_frames:
            frames = frames[: extras.key_frames]  # as many; which ones, the network has to tell
        extension = checked["result_extension"]
        if extension == ".dcm" and source.format != "dicom":
            raise UsageError("result_extension is '.dcm'; a DICOM Segmentation needs a DICOM image.")
        if extension == ".png" and len(frames) > 1:
            raise UsageError(f"result_extension is '.png', which holds one frame; {len(frames)} are asked for.")
        findings = Findings(source, extras, lambda refine: self.segmenter({**checked, "refine": refine}))
        frames = findings.frames() if extras.only_key_frames else frames
        calibrations = self.calibrations()
        pixels, scores, quality = [], [], []
        result = checked["result"]
        maps = Stack(path, frames, source.size, np.uint8 if result == "mask" else np.float32)
        for frame in frames:  # only what is asked for is kept: a long cine would fill the memory
            one = self.segment_frame(source, frame, checked)
            sure = calibrations.of(one.mirrored)(one.probability)
            pixels.append(int(one.mask.sum()))
            scores.append(round(entropy_score(sure), 6))
            quality.append(round(soft_dice_confidence(sure, one.mask), 4))
            maps.put(frame, _chosen(result, one, sure))
        found = findings.as_dict()
        with _private_file(extension) as file:
            if extension == ".dcm":
                write_segmentation(file, path, maps, weights=self.weights)
            else:
                write_map(file, maps.whole, source.affine)
        answer = {
            "label_names": self.labels,
            "frames": frames,
            "pixels": pixels,
            "uncertainty": scores,
            "quality": quality,
            "result": result,
            "device": checked["device"],
            "centroids": {},
            **found,
        }
        return str(file), answer

    def segmenter(self, options: Mapping[str, Any]) -> SharedSegmenter:
        """The bundle's Python interface around the network in use, which takes turns with other requests.

        Args:
            options: those of :func:`requests.checked_request`.
        """

        def parts() -> dict[str, Any]:
            return {
                "device": torch.device(options["device"]), "network": self._get_network(options["device"], None),
                "postprocessing": _with_refinement(self._part("postprocessing"), self.refinement(options)),
                "weights": self.weights,
                **{name: self._part(name) for name in ("inferer", "channels")},
            }  # fmt: skip

        return SharedSegmenter(self.alone, **self.alone(parts))

    def segment_frame(
        self,
        image: str | Angiogram,
        frame: int,
        options: Mapping[str, Any],
        before: Step | None = None,
        after: Step | None = None,
        one_pass: bool = False,
    ) -> FrameResult:
        """One frame through the bundle, by :func:`casr_net.inference.predict`.

        Args:
            image: an open file, or its path.
            frame: from 0.
            options: those of :func:`requests.checked_request`.
            before, after: change the dictionary of the frame before and after the network.
            one_pass: leave mirror images out.

        Raises:
            DataError: when the frame cannot be used.
        """
        source = image if isinstance(image, Angiogram) else read_angiogram(image)
        mirrored = not one_pass and self.is_mirrored(source.frames)
        data: dict[Any, Any] = {"image": image_tensor(source.grey(frame), source.affine)}

        def work() -> dict[Any, Any]:
            network = self._get_network(options["device"], None)
            channels, inferer, post = (self._part(name) for name in ("channels", "inferer", "postprocessing"))
            inferer = copy.copy(inferer)  # with the same runtimes
            inferer.tta = mirrored
            refined = _with_refinement(post, self.refinement(options))
            return predict(
                data, Compose([channels, before or _same]), network, inferer, Compose([after or _same, refined]),
                options["device"],
            )  # fmt: skip

        done = self.alone(work)
        mask, probability = (np.asarray(done[key].cpu()) for key in ("pred", "probability"))
        return FrameResult((mask[0] > 0).astype(np.uint8), probability[0].astype(np.float32), mirrored)

    def of(self, weights: Path) -> CASRInferTask:
        """The same with other weights, and without calibrations."""
        return CASRInferTask(str(self.bundle_path), self.conf, weights)

    def is_mirrored(self, frames: int) -> bool:
        """Whether a frame of a file of so many is segmented with its mirror images."""
        return is_mirrored(self._part("inferer").tta, frames)

    def _part(self, name: str) -> Any:
        """A component of the bundle's inference configuration; made once."""
        with self._making:
            if name not in self._parts:
                self._parts[name] = self.bundle_config.get_parsed_content(name, instantiate=True)
            return self._parts[name]

    def refinement(self, options: Mapping[str, Any]) -> RefinementParameters:
        """The bundle's refinement, with ``threshold`` and ``refine`` of a request."""
        (step,) = (step for step in self._part("postprocessing").transforms if isinstance(step, RefineVesselsd))
        parameters = dataclasses.replace(step.parameters, threshold=options["threshold"])
        return parameters if options["refine"] else parameters.threshold_only()

    @property
    def weights(self) -> Path:
        """The file that is used now."""
        return Path(self.get_path())


def _same(data: dict[Any, Any]) -> dict[Any, Any]:
    return data


def _with_refinement(postprocessing: Compose, parameters: RefinementParameters) -> Compose:
    """A copy of the bundle's, with the refinement of a request; other requests share the original."""
    steps = []
    for step in postprocessing.transforms:
        if isinstance(step, RefineVesselsd):
            step = copy.copy(step)
            step.parameters = parameters
        steps.append(step)
    return Compose(steps)


def _chosen(result: str, one: FrameResult, sure: np.ndarray) -> np.ndarray:
    """(X, Y) of what a request wants to have written."""
    if result == "uncertainty":
        return entropy_map(sure)
    return one.mask if result == "mask" else one.probability


@contextlib.contextmanager
def _private_file(extension: str) -> Iterator[Path]:
    """An empty temporary file to write into, which nobody else may read; it is removed on failure."""
    descriptor, name = tempfile.mkstemp(suffix=extension)
    os.close(descriptor)
    try:
        yield Path(name)
        os.chmod(name, 0o600)  # a writer may have replaced it
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class CASRDropoutTask(CASRInferTask):
    """The same with dropout switched on, so that each run gives another sample; BatchNorm keeps its statistics."""

    def _get_network(self, device: str, data: Any) -> Any:
        network = super()._get_network(device, data)
        for module in network.modules():
            if isinstance(module, torch.nn.modules.dropout._DropoutNd):
                module.train()
        return network
