"""Studies folder: MONAI Label's own datastore, whose files are written whole or not at all, and checked before."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.exception import ImageNotFoundException

from casr_net.errors import DataError
from casr_net.images import read_angiogram
from casr_net.masks import read_mask

from .requests import EXTENSIONS, NotFoundError, checked_id, checked_tag

__all__ = ["CASRDatastore"]

PART = ".casr-part-"
"""Begin of the names of files that are being written; what is left of them is removed at the start."""


class CASRDatastore(LocalDatastore):
    """Images beside each other in one folder, labels in ``labels/<tag>``, all names in ``datastore_v2.json``.

    Args:
        folder: made when it is not there.
        read_only: change nothing but through requests.

    Labels and the index are written under another name, synchronized to the disk and renamed, so that neither a killed
    server nor a full disk leaves half of one. New files of the folder are found when it is listed.
    """

    def __init__(self, folder: str | Path, read_only: bool = False) -> None:
        self._guard = threading.RLock()
        self._seen: tuple[float, ...] = ()
        Path(folder).mkdir(parents=True, exist_ok=True)
        for left in Path(folder).rglob(f"{PART}*"):
            left.unlink(missing_ok=True)
        super().__init__(str(folder), extensions=list(EXTENSIONS), auto_reload=False, read_only=read_only)
        self._seen = self._times()

    # Reading

    def list_images(self) -> list[str]:
        self._look()
        return list(super().list_images())

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        self._look()
        return list(super().get_unlabeled_images(label_tag, labels))

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        self._look()
        return list(super().get_labeled_images(label_tag, labels))

    def status(self) -> dict[str, Any]:
        self._look()
        return dict(super().status())

    def get_image_uri(self, image_id: str) -> str:
        checked_id(image_id)
        if image_id not in self._datastore.objects:
            self._look()
        found = super().get_image_uri(image_id)
        if not found:
            raise NotFoundError(f"image {image_id!r}: not in the studies folder.")
        return str(found)

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        return str(super().get_label_uri(checked_id(label_id), checked_tag(label_tag)))

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
        with self._guard:
            _, extension = self._to_id(os.path.basename(image_filename))
            name = self._filename(image_id, extension)
            with FileLock(self._lock_file):
                self._copy(image_filename, Path(self._datastore.image_path()) / name)
            self._reconcile_datastore()
            self.update_image_info(image_id, {**(image_info or {}), "ts": int(time.time()), "name": name})
        return image_id

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Store a mask for an image; one that was there with this tag is replaced.

        Raises:
            NotFoundError: when there is no such image; UsageError: for a tag with a path in it; DataError: when the
                file is no mask, or of another size than the image.
        """
        tag = checked_tag(label_tag)
        image = self.get_image_uri(image_id)
        try:
            mask = read_mask(label_filename)
        except DataError as error:
            raise DataError(f"label of {image_id!r}: {_reason(error, label_filename)}") from error
        size = read_angiogram(image).size
        if mask.shape[:2] != size:
            raise DataError(
                f"label of {image_id!r}: {mask.shape[0]} x {mask.shape[1]} pixels; the image has {size[0]} x {size[1]}."
            )
        with self._guard:
            _, extension = self._to_id(os.path.basename(label_filename))
            folder = Path(self._datastore.label_path(tag))
            name = self._filename(image_id, extension)
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._lock_file):
                self._copy(label_filename, folder / name)
            self._reconcile_datastore()
            label = self._datastore.objects[image_id].labels.get(tag)
            if label is None:
                raise ImageNotFoundException(f"Image {image_id} not found")
            if label.ext != extension:  # the label before was of another kind: only the new one is true
                old = folder / self._filename(image_id, label.ext)
                label.ext = extension
                self._update_datastore_file()
                old.unlink(missing_ok=True)
            self.update_label_info(image_id, tag, {**(label_info or {}), "ts": int(time.time()), "name": name})
        return image_id

    def remove_image(self, image_id: str) -> None:
        self.get_image_uri(image_id)
        with self._guard:
            super().remove_image(image_id)

    def remove_label(self, label_id: str, label_tag: str) -> None:
        if not self.get_label_uri(label_id, label_tag):
            raise NotFoundError(f"label {label_tag!r} of {label_id!r}: there is none.")
        with self._guard:
            super().remove_label(label_id, label_tag)

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        self.get_image_uri(image_id)
        with self._guard:
            super().update_image_info(image_id, info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        with self._guard:
            super().update_label_info(checked_id(label_id), checked_tag(label_tag), info)

    def _look(self) -> None:
        """See files that have come or gone, if a folder has changed."""
        with self._guard:
            times = self._times()
            if times != self._seen:
                self._reconcile_datastore()
                self._seen = self._times()

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

    def _update_datastore_file(self, lock: bool = True) -> None:
        def write() -> None:
            content = self._datastore.model_dump(exclude={"base_path"})
            target = Path(self._datastore_config_path)
            _write_whole(target, lambda file: file.write(json.dumps(content, indent=2, default=str).encode()))
            self._config_ts = target.stat().st_mtime

        if lock:
            with FileLock(self._lock_file):
                write()
        else:
            write()

    def _copy(self, source: str, target: Path) -> None:
        def write(file: Any) -> None:
            with open(source, "rb") as opened:
                shutil.copyfileobj(opened, file)

        _write_whole(target, write)


def _write_whole(target: Path, write: Callable[[Any], Any]) -> None:
    """A file that is there wholly or not at all, whenever the process or the machine stops."""
    part = target.with_name(f"{PART}{os.getpid()}-{threading.get_ident()}-{target.name}")
    try:
        with open(part, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DataError(f"{target}: cannot be written: {error.strerror or error}.") from error


def _reason(error: DataError, path: str) -> str:
    """The message without the name of the temporary file that was received."""
    return str(error).removeprefix(f"{path}: ").replace(str(path), "the file")
