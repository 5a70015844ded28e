"""The app: what MONAI Label serves."""

from __future__ import annotations

import copy
import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import torch
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException
from monailabel.interfaces.tasks.batch_infer import BatchInferTask
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random

from casr_net import __version__
from casr_net.errors import CASRError, DataError
from casr_net.files.dicomweb import DICOMwebArchive

from .datastore import CASRDatastore
from .inference import CASRDropoutTask, CASRInferTask
from .measuring import BULKY
from .pacs import PACSDatastore
from .requests import checked_image, checked_tag
from .scoring import DisagreementScoring, DropoutScoring, QualityScoring, TTAScoring
from .state import StateFolder
from .strategies import MostUncertain, OnlyReadable, UncertainDiverse
from .training import CASRTrainTask

__all__ = ["MODEL", "CASRLabelApp", "default_state"]

MODEL = "casr_net"
"""Name of the model and of its trainer in requests."""

logger = logging.getLogger(__name__)


class CASRLabelApp(MONAILabelApp):
    """CASR-Net for angiograms.

    Args:
        app_dir: folder of main.py; the bundle is the folder above it.
        studies: folder of images, or address of a DICOMweb server.
        conf: ``state_dir``: where published weights and runs are kept (default: ``.casr`` in the studies folder; for a
            DICOMweb server a folder where the system keeps users' program states). ``tta``: with mirror images or
            without, see :class:`CASRInferTask`.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.studies: str = studies
        self.bundle = str(Path(app_dir).resolve().parent)
        conf = conf or {}
        weights = Path(self.bundle) / "models" / "model.pt"
        self.state = StateFolder(Path(conf.get("state_dir") or default_state(studies)), weights)
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="CASR-Net",
            description="Coronary arteries in X-ray angiograms, with active learning. For research only.",
            version=__version__,
            labels=["coronary artery"],
        )

    def init_datastore(self) -> Datastore:
        if not _is_address(self.studies):
            return CASRDatastore(self.studies)
        self.studies = self.studies.rstrip("/")
        archive = DICOMwebArchive(
            self.studies, settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD,
            qido=settings.MONAI_LABEL_QIDO_PREFIX, wado=settings.MONAI_LABEL_WADO_PREFIX,
            stow=settings.MONAI_LABEL_STOW_PREFIX,
        )  # fmt: skip
        self.state.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # images of patients will lie in it
        return PACSDatastore(archive, settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER, self.state.folder / "images")

    def init_infers(self) -> dict[str, Any]:
        self.task = CASRInferTask(
            self.bundle, self.conf, self.state.published, calibrations=lambda: self.state.calibrations
        )
        return {MODEL: self.task}

    def init_trainers(self) -> dict[str, Any]:
        self.trainer = CASRTrainTask(self.bundle, self.task, self.state)
        return {MODEL: self.trainer}

    def init_strategies(self) -> dict[str, Any]:
        strategies = {
            "uncertain": MostUncertain("casr_tta"),
            "uncertain_dropout": MostUncertain("casr_dropout"),
            "uncertain_disagreement": MostUncertain("casr_disagreement"),
            "uncertain_quality": MostUncertain("casr_quality"),
            "diverse": UncertainDiverse("casr_tta", self.state.embeddings),
            "random": Random(),
            "first": First(),
        }
        return {name: OnlyReadable(strategy) for name, strategy in strategies.items()}

    def init_scoring_methods(self) -> dict[str, Any]:
        dropout = CASRDropoutTask(self.bundle, self.conf, self.state.published, dropout=DropoutScoring.PROBABILITY)
        return {
            "tta": TTAScoring(self.task, self.state.embeddings),
            "dropout": DropoutScoring(dropout),
            "disagreement": DisagreementScoring(self.task),
            "quality": QualityScoring(self.task),
        }

    def init_batch_infer(self) -> Callable[..., Any]:
        return _BatchInfer()

    def bundle_path(self, model: str) -> None:
        """MONAI Label puts what this gives on the path of its subprocesses; main.py does that itself."""
        return

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Segment an image of the datastore, an upload, or the image of a session.

        Raises:
            MONAILabelException: for an unknown model; CASRError: see :class:`CASRInferTask`.
        """
        task = self._infers.get(request.get("model") or "")
        if task is None:
            raise MONAILabelException(
                MONAILabelError.INVALID_INPUT, f"model {request.get('model')!r} is not there; known is {MODEL!r}."
            )
        store = datastore or self.datastore()
        request = copy.deepcopy(request)
        image, save = request.get("image"), bool(request.get("save_label", False))
        if isinstance(image, str) and os.path.isabs(image):
            request["image"], save = str(checked_image(image, self._readable())), False
        else:
            request["image"] = store.get_image_uri(image)
        tag = checked_tag(request.get("label_tag") or DefaultLabelTag.ORIGINAL)
        try:
            file, params = task(request)
        except DataError as error:  # the name that the client knows, not where the file lies on the server
            name = Path(request["image"]).name if isinstance(image, str) and os.path.isabs(image) else image
            path = request["image"]
            raise DataError(
                f"image {name!r}: {str(error).removeprefix(f'{path}: ').replace(path, 'the file')}"
            ) from error
        if not save:
            return {"label": file, "tag": tag, "file": file, "params": params}
        try:
            kept = {name: value for name, value in params.items() if name not in BULKY}
            label = store.save_label(image, file, tag, {"model": request["model"], "params": kept})
        finally:
            os.unlink(file)
        return {"label": label, "tag": tag, "file": None, "params": params}

    def infer_wsi(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """MONAI Label's way for whole slide images, which looks at files before it asks; the same as :meth:`infer`."""
        return self.infer(request, datastore)

    def _readable(self) -> list[Path]:
        """Folders whose files a request may name by their path: sessions, and the studies."""
        folders = [] if self._sessions is None else [Path(self._sessions.store_path)]
        return folders if _is_address(self.studies) else [*folders, Path(self.studies)]


class _BatchInfer(BatchInferTask):
    """MONAI Label divides the images among GPUs, and by zero where there are none; and ends at the first bad image."""

    def __call__(self, request: dict[str, Any], datastore: Datastore, infer: Callable[..., Any]) -> Any:
        if torch.cuda.device_count() < 2:
            device = request.get("device")
            request = {
                **request,
                "multi_gpu": False,
                "device": device if device and torch.cuda.is_available() else "cpu",
            }

        def one(item: dict[str, Any], store: Datastore) -> dict[str, Any]:
            try:
                return dict(infer(item, store))
            except CASRError as error:  # one image that cannot be used must not stop the others
                logger.warning("%s: left out: %s", item.get("image"), error)
                return {"error": str(error)}

        return super().__call__(request, datastore, one)


def _is_address(studies: str) -> bool:
    return studies.startswith(("http://", "https://"))


def default_state(studies: str) -> Path:
    """Folder of what is learned of a folder of images, or of a DICOMweb server, unless another one is chosen."""
    if not _is_address(studies):
        return Path(studies) / ".casr"
    name = hashlib.sha256(studies.rstrip("/").encode()).hexdigest()[:16]
    return platformdirs.user_state_path("casr_label", appauthor=False) / name
