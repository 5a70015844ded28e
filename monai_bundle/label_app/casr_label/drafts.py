"""Drafts: masks of single frames that somebody is still drawing, each with a revision number."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from casr_net.errors import CASRError, DataError
from casr_net.files.atomic import write_atomically

from .index import remove_parts
from .requests import checked_id

__all__ = ["ConflictError", "Draft", "DraftStore", "folder_name"]

_NAME = re.compile(r"f(\d{5})-r(\d+)\.png")
_NOTE = "casr"


class ConflictError(CASRError):
    """Somebody else has changed meanwhile what a request wants to change; it is answered with 409."""


@dataclass(frozen=True)
class Draft:
    """The draft of one frame.

    Attributes:
        frame: from 0.
        revision: grows with every change.
        path: PNG of the frame's size, 0 and 255.
    """

    frame: int
    revision: int
    path: Path

    def read(self) -> tuple[np.ndarray, dict[str, Any]]:
        """The mask, bool (X, Y), and what the client wrote down with it, such as threshold and refinement.

        Raises:
            DataError: when the file is damaged; ConflictError: when it was replaced at this moment.
        """
        return _opened(self.path)


class DraftStore:
    """One PNG file a frame, whose name holds the revision. It is written under another name, synchronized to the disk
    and renamed, and only then is the one before removed: a server that is killed has either of them.

    A revision is the time in milliseconds, or one more than the last: it grows on after a draft was removed, so that a
    window that still shows the removed one is told.

    Args:
        folder: made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        if folder.is_dir():
            remove_parts(folder)

    def of(self, image_id: str) -> dict[int, Draft]:
        """Drafts of an image, by frame."""
        found: dict[int, Draft] = {}
        try:
            names = os.listdir(self._place(image_id))
        except (FileNotFoundError, NotADirectoryError):
            return found
        for name in names:
            match = _NAME.fullmatch(name)
            if match:
                one = Draft(int(match[1]), int(match[2]), self._place(image_id) / name)
                if one.frame not in found or found[one.frame].revision < one.revision:
                    found[one.frame] = one
        return dict(sorted(found.items()))

    def images(self) -> set[str]:
        """Folders of the images that have a draft, see :func:`folder_name`."""
        if not self._folder.is_dir():
            return set()
        folders = [one for one in self._folder.iterdir() if one.is_dir()]
        return {one.name for one in folders if any(_NAME.fullmatch(name) for name in os.listdir(one))}

    def write(
        self, image_id: str, frame: int, mask: np.ndarray, seen: int, settings: Mapping[str, Any],
        writer: tuple[str, int] = ("", 0),
    ) -> int:  # fmt: skip
        """Store a mask, bool (X, Y).

        Args:
            image_id: of the datastore.
            frame: from 0.
            mask: the new one.
            seen: revision that it was made from; 0 for none.
            settings: JSON-ready notes that are kept with it.
            writer: name of the window that draws, "" for none, and a number that grows with its changes. What the same
                one has made from the same revision, it may replace: it did not get the answer, and tries again. If the
                one that is there is as new, since requests overtook each other, it stays.

        Returns:
            its revision.

        Raises:
            ConflictError: when there is a later revision, or the one that was seen is gone;
            DataError: when it cannot be written.
        """
        with self._lock:
            there = self.of(image_id).get(frame)
            origin = _origin(there) if there and writer[0] else None
            if there is None or origin is None or origin[:2] != (writer[0], seen):
                self._check(image_id, frame, seen)
            elif origin[2] >= writer[1]:
                return there.revision
            revision = max(seen + 1, there.revision + 1 if there else 0, time.time_ns() // 10**6)
            note = PngImagePlugin.PngInfo()
            known = {"image": image_id, "frame": frame, "writer": writer[0], "turn": writer[1], "seen": seen}
            note.add_text(_NOTE, json.dumps({**settings, **known}))
            picture = Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0)).T)
            target = self._place(image_id) / f"f{frame:05d}-r{revision}.png"
            try:
                write_atomically(target, lambda path: picture.save(path, pnginfo=note), sync=True)
            except DataError as error:  # where it lies is the server's affair
                reason = str(error).removeprefix(f"{target}: ")
                raise DataError(f"the draft of frame {frame + 1} of {image_id!r} {reason}") from error
            self._remove(image_id, frame, revision)
            return revision

    def remove(self, image_id: str, frame: int, seen: int) -> None:
        """Remove a draft.

        Raises:
            ConflictError: as :meth:`write`.
        """
        with self._lock:
            self._check(image_id, frame, seen)
            self._remove(image_id, frame)

    def _check(self, image_id: str, frame: int, seen: int) -> None:
        there = self.of(image_id).get(frame)
        if there is not None and there.revision != seen:
            raise ConflictError(
                f"frame {frame + 1} of {image_id!r} was changed in another window or by somebody else; nothing was "
                "overwritten."
            )
        if there is None and seen:
            raise ConflictError(
                f"the draft of frame {frame + 1} of {image_id!r} was accepted or discarded in another window or by "
                "somebody else; nothing was overwritten."
            )

    def _remove(self, image_id: str, frame: int, but: int = -1) -> None:
        for name in os.listdir(self._place(image_id)) if self._place(image_id).is_dir() else ():
            match = _NAME.fullmatch(name)
            if match and int(match[1]) == frame and int(match[2]) != but:
                (self._place(image_id) / name).unlink(missing_ok=True)

    def _place(self, image_id: str) -> Path:
        return self._folder / folder_name(image_id)


def folder_name(image_id: str) -> str:
    """A short name for what belongs to an image, whatever its own name is."""
    return hashlib.sha256(checked_id(image_id).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _origin(draft: Draft) -> tuple[str, int, int] | None:
    """Writer, revision that it was made from, and the writer's number of it."""
    try:
        _, note = draft.read()
        return str(note["writer"]), int(note["seen"]), int(note["turn"])
    except (CASRError, KeyError, ValueError, TypeError):
        return None


def _opened(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    try:
        with Image.open(path) as picture:
            mask = np.asarray(picture.convert("L")).T > 127
            return mask, dict(json.loads(picture.info.get(_NOTE, "{}")))
    except FileNotFoundError as error:
        raise ConflictError("the draft was replaced at this moment; try again.") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"draft {path.name}: the file is damaged.") from error
