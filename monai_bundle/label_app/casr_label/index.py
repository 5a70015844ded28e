"""A folder of images and labels with its index, as MONAI Label keeps it; read by several threads and processes."""

from __future__ import annotations

import contextlib
import copy
import fnmatch
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock
from monailabel.datastore.local import LocalDatastore, LocalDatastoreModel

from casr_net.files.atomic import PART, write_atomically
from casr_net.files.kinds import is_image
from casr_net.files.names import plain_stem

from .requests import EXTENSIONS, NotFoundError, checked_id, checked_tag

__all__ = ["IndexedFolder", "remove_parts"]

logger = logging.getLogger(__name__)

COARSE, FINE = 2_000_000_000, 50_000_000
"""Nanoseconds after a folder's last change within which another one may leave its time the same: where times are whole
seconds (FAT counts in two), and elsewhere (Linux counts in up to ten milliseconds)."""


class IndexedFolder(LocalDatastore):
    """Images beside each other in one folder, labels in ``labels/<tag>``, all names in ``datastore_v2.json``.

    The index is written under another name, synchronized to the disk and renamed, so that neither a killed server nor a
    full disk leaves half of one. It is read, changed and written under a lock, since requests are answered by several
    threads, and training and scoring run in processes of their own. New files of the folder are found when it is
    listed.

    Args:
        folder: made when it is not there.
        read_only: change nothing but through requests.
    """

    def __init__(self, folder: str | Path, read_only: bool = False) -> None:
        self._guard = threading.RLock()
        self._index_lock = FileLock(Path(folder) / ".casr-lock")
        self._seen: tuple[int, ...] = ()
        self._stamp: tuple[int, ...] = ()
        Path(folder).mkdir(parents=True, exist_ok=True)
        remove_parts(Path(folder))
        super().__init__(str(folder), extensions=list(EXTENSIONS), auto_reload=False, read_only=read_only)

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
        total, completed = len(self.list_images()), len(self.get_labeled_images())
        with self._guard:
            tags = Counter(tag for entry in self._datastore.objects.values() for tag in entry.labels)
        return {"total": total, "completed": completed, "label_tags": dict(tags)}

    def json(self) -> dict[str, Any]:
        with self._looked():
            return dict(super().json())

    def get_image_uri(self, image_id: str) -> str:
        if not self.is_here(checked_id(image_id)):
            with self._looked():
                pass
        with self._guard:
            found = super().get_image_uri(image_id)
        if not found:
            raise NotFoundError(f"image {image_id!r}: not in the studies folder.")
        return str(found)

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        with self._guard:
            return dict(super().get_image_info(image_id))

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        with self._guard:
            return str(super().get_label_uri(checked_id(label_id), checked_tag(label_tag)))

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        with self._guard:
            return copy.deepcopy(super().get_label_info(checked_id(label_id), checked_tag(label_tag)))

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        with self._guard:
            return dict(super().get_labels_by_image_id(checked_id(image_id)))

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """A temporary ZIP file of images and final labels, for the caller to remove.

        Raises:
            NotFoundError: when no image has a final label.
        """
        if not self.datalist():
            raise NotFoundError("no image has a final label, so there is nothing to pack.")
        return str(super().get_dataset_archive(limit_cases))

    # The index

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """Nobody else changes the index meanwhile, and what others have changed before is known."""
        with self._guard, self._index_lock:
            self._init_from_datastore_file()
            yield

    @contextlib.contextmanager
    def _looked(self) -> Iterator[None]:
        """Files that have come or gone are seen, if a folder has changed, and what other processes have written.

        What counts is the time from before the look: a file that comes during one may not be in it, and the folder's
        time of afterwards would then hide that file until the next change.
        """
        with self._guard:
            now, times = time.time_ns(), self._times()
            if times != self._seen:
                self._reconcile_datastore()
                self._seen = times if all(_settled(each, now) for each in times) else ()
            else:
                self._init_from_datastore_file()
            yield

    def _reconcile_datastore(self) -> None:
        with self._change():
            super()._reconcile_datastore()

    def _times(self) -> tuple[int, ...]:
        labels = Path(self._datastore.label_path(None))
        folders = [
            Path(self._datastore.image_path()),
            labels,
            *sorted(path for path in labels.glob("*") if path.is_dir()),
        ]
        return tuple(folder.stat().st_mtime_ns for folder in folders if folder.is_dir())

    def _list_files(self, path: str, patterns: list[str]) -> dict[str, str]:
        """Images are what :func:`casr_net.files.is_image` says, whatever their ending; labels go by it."""
        names = [name for name in os.listdir(path) if not name.startswith(".")]
        if Path(path) == Path(self._datastore.image_path()):
            wanted = [n for n in names if n.upper() != "DICOMDIR" and (Path(path) / n).is_file()]
            return {name: name for name in wanted if is_image(Path(path) / name)}
        return {name: name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)}

    def _to_id(self, file: str) -> tuple[str, str]:
        """Name without its ending, and the ending; a UID's last number is none."""
        stem = plain_stem(Path(file))
        return stem, file[len(stem) :]

    def is_here(self, image_id: str) -> bool:
        """Whether the file of an image lies in this folder, as far as is known without looking."""
        with self._guard:
            return image_id in self._datastore.objects

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


def _settled(changed: int, now: int) -> bool:
    """Whether a folder with this time of change would have another one after a further change; nanoseconds."""
    return abs(now - changed) > (FINE if changed % 1_000_000_000 else COARSE)


def _stamp(file: Path) -> tuple[int, ...]:
    """Changes whenever the file is replaced; empty when it is not there."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return ()
    return status.st_mtime_ns, status.st_ino, status.st_size


def remove_parts(folder: Path) -> None:
    """Remove what a killed process left half written; those that live may be writing."""
    for left in folder.rglob(f"{PART}*"):
        number = left.name.removeprefix(PART).partition("-")[0]
        if not number.isdigit() or int(number) == os.getpid() or not psutil.pid_exists(int(number)):
            left.unlink(missing_ok=True)
