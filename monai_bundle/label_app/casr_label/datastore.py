"""Studies folder: MONAI Label's own datastore, whose files are written whole or not at all, and checked before."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from casr_net.errors import CASRError, DataError, UsageError
from casr_net.files.atomic import write_atomically
from casr_net.files.dicom import patient_id
from casr_net.files.digest import sha256
from casr_net.files.images import read_angiogram
from casr_net.files.maps import write_map
from casr_net.files.masks import read_mask

from .drafts import ConflictError
from .index import IndexedFolder
from .labels import FrameLabel, labelled_frames, received_label
from .requests import NotFoundError, checked_id, checked_tag

__all__ = ["CASRDatastore"]


class CASRDatastore(IndexedFolder):
    """Images and labels that are checked before they are stored, and written under another name, synchronized to the
    disk and renamed."""

    def title(self, image_id: str) -> str:
        """What people call an image: its id, unless the store knows better."""
        return image_id

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
        """Add an image that the bundle can read. One that is there with the same content stays as it is.

        Raises:
            UsageError: for a name with a path in it; DataError: when the file is no angiogram; ConflictError: when
                there is another image of that name, whose labels, scores and patient would then be those of this one.
        """
        checked_id(image_id)
        try:
            read_angiogram(image_filename)
        except DataError as error:
            raise DataError(f"image {image_id!r}: {_reason(error, image_filename)}") from error
        _, extension = self._to_id(os.path.basename(image_filename))
        name = self._filename(image_id, extension)
        with self._change():
            self._reconcile_datastore()  # the folder may have got one meanwhile
            if image_id in self._datastore.objects:
                if sha256(self.get_image_uri(image_id)) == sha256(image_filename):
                    return image_id
                raise ConflictError(
                    f"image {image_id!r}: there is another one of that name; take another name, or remove that one "
                    "first."
                )
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


def _copy(source: str, target: Path) -> None:
    write_atomically(target, lambda path: shutil.copyfile(source, path), sync=True)


def _entries(info: Any) -> dict[str, Any]:
    if not isinstance(info, dict):
        raise DataError(f"info is {str(info)[:50]!r}; expected a JSON object.")
    return info


def _reason(error: CASRError, path: str) -> str:
    """The message without the name of the temporary file that was received."""
    return str(error).removeprefix(f"{path}: ").replace(str(path), "the file")
