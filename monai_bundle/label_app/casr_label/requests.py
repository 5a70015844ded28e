"""What a request may ask for: names, values and paths are checked before anything is done with them."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from casr_net.errors import CASRError, DataError, UsageError
from casr_net.inference.device import resolve_device
from casr_net.inference.mirrored import AUTO

__all__ = [
    "EXTENSIONS",
    "RESULTS",
    "BusyError",
    "NotFoundError",
    "checked_id",
    "checked_image",
    "checked_object",
    "checked_request",
    "checked_tag",
    "frame_choice",
    "tta_setting",
]

EXTENSIONS = (
    "*.nii.gz", "*.nii", "*.nrrd", "*.mha", "*.png", "*.jpg", "*.jpeg", "*.tif", "*.tiff", "*.bmp", "*.dcm",
)  # fmt: skip
"""Files that are labels; which ones are images, casr_net tells."""
RESULT_EXTENSIONS = (".nrrd", ".nii.gz", ".png", ".dcm")
"""Of results; ``.dcm`` is a DICOM Segmentation, of DICOM images only."""
RESULTS = ("mask", "probability", "uncertainty")
LEVELS = 64
"""Of objects and lists in each other that a form field may have. They are stored in the index, which Pydantic takes for
damaged when the server starts again if there are some hundred levels in it, and all notes are lost. Our choice."""

_ID = re.compile(r"[^/\\\x00-\x1f]{1,200}")
_TAG = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UPLOAD = re.compile(r"tmp[a-z0-9_]{8}(\.[^/]{0,200})?")  # as tempfile names what MONAI Label has received


class BusyError(CASRError):
    """What is asked for is being done already, and can be asked for again later; it is answered with 429."""


class NotFoundError(DataError):
    """There is no such image or label."""


def checked_id(name: Any) -> str:
    """A name of an image: one path component.

    Raises:
        UsageError: for anything that could lead out of a folder.
    """
    if not isinstance(name, str) or not _ID.fullmatch(name) or name.strip() in ("", ".", "..") or name.startswith("."):
        raise UsageError(f"image {str(name)[:200]!r}: expected a name without '/', '\\' or a leading dot.")
    return name


def checked_tag(tag: Any) -> str:
    """A label's tag, such as "final" or "original".

    Raises:
        UsageError: for anything but letters, digits, '-' and '_'.
    """
    value = getattr(tag, "value", tag)
    if not isinstance(value, str) or not _TAG.fullmatch(value):
        raise UsageError(f"tag {str(value)[:200]!r}: expected letters, digits, '-' or '_'.")
    return value


def checked_image(path: str, folders: list[Path]) -> Path:
    """A file that a request may read: below one of the folders, or an upload that MONAI Label has just received.

    Raises:
        NotFoundError: for any other path, whether it exists or not.
    """
    real = Path(path).resolve()
    inside = any(folder.resolve() in real.parents for folder in folders)
    uploaded = real.parent == Path(tempfile.gettempdir()).resolve() and _UPLOAD.fullmatch(real.name) is not None
    if not (inside or uploaded) or not real.is_file():
        raise NotFoundError(f"image {Path(path).name[:200]!r}: not in the studies folder.")
    return real


def tta_setting(text: str) -> bool | str:
    """What the app's setting ``tta`` says, which MONAI Label hands on as text.

    Raises:
        UsageError: for anything but "auto", "true" and "false".
    """
    value = str(text).strip().lower()
    if value not in ("true", "false", AUTO):
        raise UsageError(f"--conf tta is {str(text)[:50]!r}; expected auto, true or false.")
    return AUTO if value == AUTO else value == "true"


def checked_object(name: str, text: str) -> dict[str, Any]:
    """The JSON object in a form field, of which nothing is accepted that could not be stored and answered again.

    Args:
        name: of the field, for the message.
        text: of the field.

    Raises:
        UsageError: for anything but a JSON object; for NaN, infinity and longer integers than Python reads (4300
            digits), for halves of surrogate pairs, which UTF-8 does not have, and for more than ``LEVELS`` levels.
    """
    wrong = f"{name} is {text[:50]!r}; expected a JSON object"
    try:
        found = json.loads(text)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except json.JSONDecodeError as error:
        raise UsageError(f"{wrong}.") from error
    except (ValueError, RecursionError) as error:  # a UnicodeEncodeError is a ValueError, too
        raise UsageError(f"{wrong} of finite numbers, valid text and at most {LEVELS} levels.") from error
    if not isinstance(found, dict):
        raise UsageError(f"{wrong}.")
    if _levels(found) > LEVELS:
        raise UsageError(f"{wrong} of finite numbers, valid text and at most {LEVELS} levels.")
    return found


def _levels(value: Any) -> int:
    """How many objects and lists lie in each other; 0 for anything else."""
    count, level = 0, [value]
    while level := [one for one in level if isinstance(one, (dict, list))]:
        count += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return count


def frame_choice(value: Any, frames: int, name: str) -> list[int]:
    """Frames that a request asks for, counted from 0.

    Args:
        value: a number, "all", or None: all of them, since 3D Slicer and OHIF ask for a label of the whole image.
        frames: how many there are.
        name: for the message.

    Raises:
        UsageError: for another value, or a number out of range.
    """
    if value is None or value in ("", "all"):
        return list(range(frames))
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,6}", text) or int(text) >= frames:
        raise UsageError(f"{name}: frame is {text[:50]!r}; expected 0 to {frames - 1}, or 'all'.")
    return [int(text)]


def checked_request(request: Mapping[str, Any]) -> dict[str, Any]:
    """Values of an inference request that are used as names of files or of devices, or by the network's refinement.

    Returns:
        device, result, result_extension, threshold, refine: with their defaults.

    Raises:
        UsageError: for a value that is not allowed.
    """
    device = _first(request.get("device"))
    extension = request.get("result_extension") or ".nrrd"
    if extension not in RESULT_EXTENSIONS:
        raise UsageError(f"result_extension is {str(extension)[:50]!r}; known are {', '.join(RESULT_EXTENSIONS)}.")
    result = _first(request.get("result", "mask"))
    if result not in RESULTS:
        raise UsageError(f"result is {str(result)[:50]!r}; known are {', '.join(RESULTS)}.")
    threshold = request.get("threshold", 0.5)
    with contextlib.suppress(ValueError):  # forms of clients give text
        threshold = float(threshold) if isinstance(threshold, str) else threshold
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 < threshold <= 1:
        raise UsageError(f"threshold is {str(threshold)[:50]!r}; expected a number above 0 and at most 1.")
    refine = request.get("refine", True)
    if not isinstance(refine, bool):
        raise UsageError(f"refine is {str(refine)[:50]!r}; expected true or false.")
    if extension == ".dcm" and result != "mask":
        raise UsageError(f"result is {result!r}; a DICOM Segmentation ('.dcm') holds masks only.")
    return {
        "device": str(resolve_device(str(device or "auto"))),
        "result": result,
        "result_extension": extension,
        "threshold": float(threshold),
        "refine": refine,
    }


def _first(value: Any) -> Any:
    """Clients that show a list of choices may send it back whole."""
    return value[0] if isinstance(value, list) and value else value
