"""Studies folder: MONAI Label's own datastore, whose files are written whole or not at all, and checked before."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from filelock import FileLock
from monailabel.datastore.local import LocalDatastore, LocalDatastoreModel

from casr_net.errors import CASRError, DataError, UsageError
from casr_net.files.atomic import PART, write_atomically
from casr_net.files.dicom import patient_id
from casr_net.files.images import read_angiogram
from casr_net.files.maps import write_map
from casr_net.files.masks import read_mask

from .labels import FrameLabel, labelled_frames, received_label
from .requests import EXTENSIONS, NotFoundError, checked_id, checked_tag

__all__ = ["CASRDatastore"]

logger = logging.getLogger(__name__)


class CASRDatastore(LocalDatastore):
    """Images beside each other in one folder, labels in ``labels/<tag>``, all names in ``datastore_v2.json``.

    Args:
        folder: made when it is not there.
        read_only: change nothing but through requests.

    Labels and the index are written under another name, synchronized to the disk and renamed, so that neither a killed
    server nor a full disk leaves half of one. The index is read, changed and written under a lock, since training and
    scoring run in processes of their own. New files of the folder are found when it is listed.
    """

    def __init__(self, folder: str | Path, read_only: bool = False) -> None:
        self._guard = threading.RLock()
        self._index_lock = FileLock(Path(folder) / ".casr-lock")
        self._seen: tuple[float, ...] = ()
        self._stamp: tuple[int, ...] = ()
        Path(folder).mkdir(parents=True, exist_ok=True)
        _remove_parts(Path(folder))
        super().__init__(str(folder), extensions=list(EXTENSIONS), auto_reload=False, read_only=read_only)
        self._seen = self._times()

    # Reading

    def list_images(self) -> list[str]:
        with self._looked():
            return list(super().list_images())

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        with self._looked():
            return list(super().get_unlabeled_images(label_tag, labels))

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        with self._looked():
            return list(super().get_labeled_images(label_tag, labels))

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        with self._looked():
            return list(super().datalist(full_path))

    def status(self) -> dict[str, Any]:
        with self._looked():
            return dict(super().status())

    def get_image_uri(self, image_id: str) -> str:
        checked_id(image_id)
        if image_id not in self._datastore.objects:
            with self._looked():
                pass
        found = super().get_image_uri(image_id)
        if not found:
            raise NotFoundError(f"image {image_id!r}: not in the studies folder.")
        return str(found)

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        return str(super().get_label_uri(checked_id(label_id), checked_tag(label_tag)))

    def label(self, image_id: str, label_tag: str) -> FrameLabel | None:
        """The stored label of an image, or None.

        Raises:
            DataError: when its file cannot be read.
        """
        path = self.get_label_uri(image_id, label_tag)
        if not path or not Path(path).is_file():
            return None
        masks = read_mask(path)
        return FrameLabel(masks, labelled_frames(self.get_label_info(image_id, label_tag), masks), True)

    def patient(self, image_id: str) -> str:
        """Whom an image shows: ``patient`` of its info, if a client has put it there, else the DICOM file's PatientID,
        else the image's own name."""
        told = self.get_image_info(image_id).get("patient")
        return str(told) if told else patient_id(self.get_image_uri(image_id)) or image_id

    # Writing

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Add an image that the bundle can read.

        Raises:
            UsageError: for a name with a path in it; DataError: when the file is no angiogram.
        """
        checked_id(image_id)
        try:
            read_angiogram(image_filename)
        except DataError as error:
            raise DataError(f"image {image_id!r}: {_reason(error, image_filename)}") from error
        _, extension = self._to_id(os.path.basename(image_filename))
        name = self._filename(image_id, extension)
        with self._change():
            _copy(image_filename, Path(self._datastore.image_path()) / name)
            self._reconcile_datastore()
            self._datastore.objects[image_id].image.info.update(
                {**(image_info or {}), "ts": int(time.time()), "name": name}
            )
            self._update_datastore_file()
        return image_id

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Store a mask for an image; one that was there with this tag is replaced, or, if the new one is of one frame
        of a cine, completed. See :func:`labels.received_label` for what may be sent.

        Raises:
            NotFoundError: when there is no such image; UsageError: for a tag with a path in it, or a frame that is not
                there; DataError: when the file is no mask, or of another size than the image.
        """
        tag = checked_tag(label_tag)
        source, info = read_angiogram(self.get_image_uri(image_id)), dict(label_info or {})
        with self._change():
            old = self.label(image_id, tag) if source.frames > 1 else None
            try:
                label = received_label(Path(label_filename), source, info, (old.masks, old.frames) if old else None)
            except (DataError, UsageError) as error:
                raise type(error)(f"label of {image_id!r}: {_reason(error, label_filename)}") from error
            _, extension = self._to_id(os.path.basename(label_filename))
            extension = extension if label.as_received else ".nrrd"
            folder = Path(self._datastore.label_path(tag))
            name = self._filename(image_id, extension)
            if label.as_received:
                _copy(label_filename, folder / name)
            else:
                masks = label.masks.astype(np.uint8)
                write_atomically(folder / name, lambda path: write_map(path, masks, source.affine), sync=True)
            self._reconcile_datastore()
            entry = self._datastore.objects[image_id].labels[tag]
            left = folder / self._filename(image_id, entry.ext) if entry.ext != extension else None
            entry.ext = extension  # the label before may have been of another kind: only the new one is true
            entry.info = {**info, "frames": label.frames, "ts": int(time.time()), "name": name}
            self._update_datastore_file()
            if left is not None:
                left.unlink(missing_ok=True)
        return image_id

    def remove_image(self, image_id: str) -> None:
        self.get_image_uri(image_id)
        with self._change():
            super().remove_image(image_id)

    def remove_label(self, label_id: str, label_tag: str) -> None:
        if not self.get_label_uri(label_id, label_tag):
            raise NotFoundError(f"label {label_tag!r} of {label_id!r}: there is none.")
        with self._change():
            super().remove_label(label_id, label_tag)

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        self.get_image_uri(image_id)
        with self._change():
            super().update_image_info(image_id, _entries(info))

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        with self._change():
            super().update_label_info(checked_id(label_id), checked_tag(label_tag), _entries(info))

    # The index

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """Nobody else changes the index meanwhile, and what others have changed before is known."""
        with self._guard, self._index_lock:
            self._init_from_datastore_file()
            yield

    @contextlib.contextmanager
    def _looked(self) -> Iterator[None]:
        """Files that have come or gone are seen, if a folder has changed, and what other processes have written."""
        with self._guard:
            if self._times() != self._seen:
                self._reconcile_datastore()
                self._seen = self._times()
            else:
                self._init_from_datastore_file()
            yield

    def _reconcile_datastore(self) -> None:
        with self._change():
            super()._reconcile_datastore()

    def _times(self) -> tuple[float, ...]:
        labels = Path(self._datastore.label_path(None))
        folders = [
            Path(self._datastore.image_path()),
            labels,
            *sorted(path for path in labels.glob("*") if path.is_dir()),
        ]
        return tuple(folder.stat().st_mtime_ns for folder in folders if folder.is_dir())

    def _list_files(self, path: str, patterns: list[str]) -> dict[str, str]:
        found = super()._list_files(path, patterns)
        return {name: file for name, file in found.items() if not name.startswith(".")}

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        """Read the index if somebody else has written it. One that is damaged is kept under another name and made anew
        from the files, so that no label is lost; only what was noted about them is."""
        file = Path(self._datastore_config_path)
        with self._guard, self._index_lock:
            stamp = _stamp(file)
            if stamp == self._stamp or not stamp:
                return
            try:
                self._datastore = LocalDatastoreModel.model_validate_json(file.read_text(encoding="utf-8"))
            except ValueError:
                kept = file.with_name(f"{file.name}.broken-{time.strftime('%Y%m%d-%H%M%S')}")
                os.replace(file, kept)
                logger.error("%s: not a valid index; it is kept as %s and made anew from the files.", file, kept.name)
                stamp = ()
            self._datastore.base_path = self._datastore_path
            self._stamp = stamp

    def _update_datastore_file(self, lock: bool = True) -> None:
        content = json.dumps(self._datastore.model_dump(exclude={"base_path"}), indent=2, default=str)
        target = Path(self._datastore_config_path)
        with self._guard, self._index_lock:
            write_atomically(target, lambda path: path.write_text(content, encoding="utf-8"), sync=True)
            self._stamp = _stamp(target)


def _stamp(file: Path) -> tuple[int, ...]:
    """Changes whenever the file is replaced; empty when it is not there."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return ()
    return status.st_mtime_ns, status.st_ino, status.st_size


def _copy(source: str, target: Path) -> None:
    write_atomically(target, lambda path: shutil.copyfile(source, path), sync=True)


def _remove_parts(folder: Path) -> None:
    """Remove what a killed process left half written; those that live may be writing."""
    for left in folder.rglob(f"{PART}*"):
        number = left.name.removeprefix(PART).partition("-")[0]
        if not number.isdigit() or int(number) == os.getpid() or not psutil.pid_exists(int(number)):
            left.unlink(missing_ok=True)


def _entries(info: Any) -> dict[str, Any]:
    if not isinstance(info, dict):
        raise DataError(f"info is {str(info)[:50]!r}; expected a JSON object.")
    return info


def _reason(error: CASRError, path: str) -> str:
    """The message without the name of the temporary file that was received."""
    return str(error).removeprefix(f"{path}: ").replace(str(path), "the file")
