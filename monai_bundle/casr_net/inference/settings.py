"""Values that a configuration may give: types and ranges of the keys that users set, the shape of everything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from ..errors import UsageError, shown
from ..files.frames import MAX_FRAMES, MAX_SIDE, MIN_SIDE
from ..files.names import OVERLAYS
from .mirrored import AUTO
from .runtimes.packages import PRECISIONS, RUNTIMES

__all__ = ["SETTINGS", "check_keys", "check_settings", "check_shape", "check_switches"]

Test = Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and isfinite(value)


def _is_whole(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral)


def _is_path(value: Any) -> bool:
    return isinstance(value, Path) or (isinstance(value, str) and bool(value))


def _is_list_of(test: Test) -> Test:
    return lambda value: isinstance(value, (list, tuple)) and all(map(test, value))


def _is_window(value: Any) -> bool:
    return _is_list_of(_is_number)(value) and len(value) == 2 and value[1] > 0


_SWITCH: tuple[Test, str] = (lambda value: isinstance(value, bool), "true or false")
_PATH: tuple[Test, str] = (_is_path, "a path")
_RUNTIMES = ("auto", *RUNTIMES)

SETTINGS: dict[str, tuple[Test, str]] = {
    "bundle_root": _PATH,
    "dataset_dir": _PATH,
    "output_dir": _PATH,
    "inputs": (lambda value: _is_path(value) or _is_list_of(_is_path)(value), "a path, or a list of paths"),
    "device_name": (lambda value: isinstance(value, str), "auto, cpu, cuda or cuda:<index>"),
    "runtime": (lambda value: value in _RUNTIMES, f"one of {', '.join(_RUNTIMES)}"),
    "precision": (lambda value: value in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
    "weights": _PATH,
    "format": (lambda value: isinstance(value, str), "the name of a format"),
    "overlay": (
        lambda value: isinstance(value, bool) or value in OVERLAYS,
        f"true, false or one of {', '.join(OVERLAYS)}",
    ),
    "areas": _SWITCH,
    "probability": _SWITCH,
    "overwrite": _SWITCH,
    "flat": _SWITCH,
    "pipeline": _SWITCH,
    "refine": _SWITCH,
    "tta": (lambda value: isinstance(value, bool) or value == AUTO, "true, false or auto"),
    "threshold": (lambda value: _is_number(value) and 0 < value <= 1, "a number above 0 and at most 1"),
    "window": (
        lambda value: value is None or _is_window(value),
        "null, or a list of centre and width, two numbers of which the second is above 0",
    ),
    "config_overlays": (_is_list_of(_is_path), "a list of paths"),
    "key_frames": (
        lambda value: value is None or (_is_whole(value) and 1 <= value <= MAX_FRAMES),
        f"null, or a whole number from 1 to {MAX_FRAMES}",
    ),
    "token_file": (lambda value: value is None or _is_path(value), "null, or a path"),
    "network_size": (
        lambda value: _is_whole(value) and MIN_SIDE <= value <= MAX_SIDE,
        f"a whole number from {MIN_SIDE} to {MAX_SIDE}",
    ),
    "pretrained": (lambda value: value is None or _is_path(value), "null, or a path"),
}
"""Of each key of ``inference.json`` that users set: a test of its value, and what is expected, in words."""


def check_settings(values: Mapping[str, Any], source: str) -> None:
    """Refuse wrong values of the keys of :data:`SETTINGS`; expressions, which are only known later, pass.

    Args:
        values: by key; other keys pass.
        source: what the error names: the file, or "arguments".

    Raises:
        UsageError: naming key, value and what is expected.
    """
    for key, value in values.items():
        name = key.lstrip("+~")
        if name in SETTINGS and not _is_expression(value):
            test, expected = SETTINGS[name]
            if not test(value):
                raise UsageError(f"{source}: {name} is {shown(value)}; expected {expected}.")


def check_switches(**values: Any) -> None:
    """Refuse what is neither true nor false: Python takes the text "false", which ``python -m monai.bundle run`` makes
    of ``--overwrite false``, for true.

    Args:
        values: of the switches of a configuration, by their keys.

    Raises:
        UsageError: naming key and value.
    """
    for name, value in values.items():
        if not isinstance(value, bool):
            raise UsageError(
                f"configuration: {name} is {shown(value)}; expected true or false, which the command line of "
                "monai.bundle takes as True and False."
            )


def check_keys(overlay: Mapping[str, Any], known: Mapping[str, Any], source: str, base: str) -> None:
    """Refuse keys that would silently change nothing, and values that cannot stand in their place.

    Keys of MONAI's form ``network_def#q`` are followed as far as the base goes; the last part may be a new argument of
    a component, which the component itself checks.

    Raises:
        UsageError: naming the key and the nearest known one, or the value and what is expected.
    """
    for key, value in overlay.items():
        place: Any = known
        parts = key.lstrip("+~").replace("::", "#").split("#")
        for depth, part in enumerate(parts):
            if isinstance(place, list):
                if not part.isdigit() or int(part) >= len(place):
                    count = f"{shown(parts[depth - 1])} has {len(place)} entries"
                    raise UsageError(f"{source}: {base} has no key {shown(key)}: {count}.")
                place = place[int(part)]
            elif isinstance(place, dict) and part in place:
                place = place[part]
            elif isinstance(place, dict) and "_target_" in place and depth == len(parts) - 1:
                break
            else:
                options = list(place) if isinstance(place, dict) else []
                near = get_close_matches(part, options, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else "."
                raise UsageError(f"{source}: {base} has no key {shown(key)}{hint}")
        else:
            if not key.startswith("~"):  # removes the key, whatever its value
                check_shape(value, place, key.lstrip("+"), source)
    check_settings({key: value for key, value in overlay.items() if not key.startswith("~")}, source)


def check_shape(value: Any, place: Any, key: str, source: str) -> None:
    """Refuse a value of another kind than the base's: a number for a component, text for a list.

    Args:
        value: that is to replace
        place: what the base has there.
        key, source: named in the error.

    Raises:
        UsageError: naming key, value and what is expected.
    """
    if key in SETTINGS or _is_expression(value) or _is_expression(place) or place is None:
        return
    if isinstance(place, bool):
        fits, expected = isinstance(value, bool), "true or false"
    elif isinstance(place, (int, float)):
        fits, expected = _is_number(value), "a number"
    elif isinstance(place, str):
        fits, expected = isinstance(value, (str, Path)), "text"
    elif isinstance(place, list):
        fits, expected = isinstance(value, (list, tuple)), "a list"
    elif "_target_" in place:
        fits = isinstance(value, dict) and isinstance(value.get("_target_"), str)
        expected = "a component: an object with '_target_'"
    else:
        fits, expected = isinstance(value, dict), "an object of keys and values"
    if not fits:
        raise UsageError(f"{source}: {shown(key)} is {shown(value)}; expected {expected}.")
    if isinstance(value, dict) and isinstance(place, dict) and value.get("_target_") == place.get("_target_"):
        for name in value.keys() & place.keys():
            check_shape(value[name], place[name], f"{key}#{name}", source)


def _is_expression(value: Any) -> bool:
    """Whether MONAI makes something else of it: ``$`` a Python expression, ``@`` a reference, ``%`` a copied text."""
    return isinstance(value, str) and value.startswith(("$", "@", "%"))
