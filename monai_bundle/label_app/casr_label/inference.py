"""Inference task: the bundle's own transforms, network and refinement, with results on the source's grid."""

from __future__ import annotations

import dataclasses
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monailabel.tasks.infer.bundle import BundleInferTask

from casr_net.errors import DataError
from casr_net.images import read_angiogram
from casr_net.refinement import RefineVesselsd
from casr_net.writers import write_atomically, write_map

from .requests import checked_request, frame_choice
from .uncertainty import entropy_map, entropy_score

__all__ = ["CASRDropoutTask", "CASRInferTask", "FrameResult"]


@dataclasses.dataclass(frozen=True)
class FrameResult:
    """One frame.

    Attributes:
        mask: uint8 (X, Y), 0 or 1.
        probability: float32 (X, Y), before refinement.
    """

    mask: np.ndarray
    probability: np.ndarray


class CASRInferTask(BundleInferTask):
    """Segments one frame, or all of them, of an image that :func:`casr_net.images.read_angiogram` knows.

    Parameters of a request, beside MONAI Label's own: ``frame`` (number from 0, or "all"), ``threshold``, ``refine``,
    ``result``: "mask" (uint8, vessel = 1; 255 in PNG), "probability" or "uncertainty" (entropy in bits; both float32,
    in PNG 0 to 255). The answer's ``params`` hold ``uncertainty``, a score from 0 to 1, and ``pixels``, by frame.

    Args:
        path: bundle folder.
        conf: of the app.
        published: weights that are used as soon as they are there, in place of the bundle's; they are loaded anew when
            they change.
        dropout: probability of the decoder's dropout, see :class:`CASRDropoutTask`.
    """

    def __init__(self, path: str, conf: dict[str, str], published: Path | None = None, dropout: float = 0.0) -> None:
        super().__init__(path, conf, add_post_restore=False, dropout=dropout, load_strict=True)
        # The choice of a file by its name in a request is not offered: the published weights are the ones to be used.
        self._config.pop("model_filename", None)
        self.path = [*self.path, *([str(published)] if published is not None else [])]
        # The bundle's configuration is parsed and instantiated anew for each request; two at once would mix it up.
        self._one_at_a_time = threading.Lock()

    def __call__(self, request: Mapping[str, Any], callbacks: Any = None) -> tuple[str | None, dict[str, Any]]:
        """Returns a temporary file with the result, and the parameters of the answer.

        Raises:
            UsageError: for a parameter that is not allowed; DataError: when the image cannot be used.
        """
        path = request.get("image")
        if not isinstance(path, str):
            raise DataError("image: expected a file.")
        checked = checked_request(request)
        source = read_angiogram(path)
        frames = frame_choice(request.get("frame"), source.frames, Path(path).name)
        results = [self.segment_frame(path, frame, checked, callbacks) for frame in frames]
        maps = {
            "mask": lambda one: one.mask,
            "probability": lambda one: one.probability,
            "uncertainty": lambda one: entropy_map(one.probability),
        }
        stack = np.stack([maps[checked["result"]](one) for one in results], axis=-1)
        extension = checked["result_extension"]
        with tempfile.NamedTemporaryFile(suffix=extension, delete=False) as opened:
            file = Path(opened.name)
        write_atomically(file, lambda temporary: write_map(temporary, stack, source.affine))
        answer = {
            "label_names": self.labels,
            "frames": frames,
            "pixels": [int(one.mask.sum()) for one in results],
            "uncertainty": [round(entropy_score(one.probability), 6) for one in results],
            "result": checked["result"],
            "device": checked["device"],
            "centroids": {},
        }
        return str(file), answer

    def segment_frame(self, path: str, frame: int, options: Mapping[str, Any], callbacks: Any = None) -> FrameResult:
        """One frame through the bundle; ``options`` are those of :func:`requests.checked_request`."""
        request = {**options, "image": path, "frame": frame, "skip_writer": True, "logging": "WARNING"}
        with self._one_at_a_time:
            _, data = super().__call__(request, callbacks)
        mask, probability = (np.asarray(data[key].cpu()) for key in (self.key_pred, "probability"))
        return FrameResult((mask[0] > 0).astype(np.uint8), probability[0].astype(np.float32))

    def post_transforms(self, data: Any = None) -> Sequence[Callable[..., Any]]:
        """The bundle's, with the threshold and the refinement of the request."""
        transforms = super().post_transforms(data)
        for step in transforms:
            if isinstance(step, RefineVesselsd) and data is not None:
                off = {} if data["refine"] else {"reconnect": False, "fill_pinholes": False, "remove_components": False}
                step.parameters = dataclasses.replace(step.parameters, threshold=data["threshold"], **off)
        return transforms

    @property
    def weights(self) -> Path:
        """The file that is used now."""
        return Path(self.get_path())


class CASRDropoutTask(CASRInferTask):
    """The same with dropout switched on, so that each run gives another sample; BatchNorm keeps its statistics."""

    def _get_network(self, device: str, data: Any) -> Any:
        network = super()._get_network(device, data)
        for module in network.modules():
            if isinstance(module, torch.nn.modules.dropout._DropoutNd):
                module.train()
        return network
