"""What belongs to user and computer rather than to the scene: device and bundle folder, in Slicer's settings."""

from __future__ import annotations

import re

import qt
from slicer.i18n import tr as _

from . import bundles
from .bundles import Bundle

__all__ = ["DEVICES", "bundle", "bundle_folder", "checked_device", "device", "set_bundle_folder", "set_device"]

DEVICES = ("auto", "cpu", "cuda:0", "cuda:1")
"""Devices that are offered; any other "cuda:<number>" can be typed."""

_DEVICE, _BUNDLE = "CASRSegmentation/Device", "CASRSegmentation/BundleFolder"
_PATTERN = re.compile(r"auto|cpu|cuda(:\d+)?")


def checked_device(text: str) -> str:
    """The device that a text names.

    Raises:
        ValueError: for anything but auto, cpu, cuda, cuda:0, cuda:1, ...
    """
    value = text.strip().lower()
    if not _PATTERN.fullmatch(value):
        raise ValueError(_("device is '{text}'; expected auto, cpu, cuda or cuda:0, cuda:1, ...").format(text=text))
    return value


def device() -> str:
    """The user's device; "auto" if none was chosen or the setting is nonsense."""
    try:
        return checked_device(str(qt.QSettings().value(_DEVICE) or "auto"))
    except ValueError:
        return "auto"


def set_device(text: str) -> None:
    """Keep the device.

    Raises:
        ValueError: see :func:`checked_device`.
    """
    qt.QSettings().setValue(_DEVICE, checked_device(text))


def bundle_folder() -> str:
    """The folder that the user has chosen, or "" for the bundle of the extension."""
    return str(qt.QSettings().value(_BUNDLE) or "")


def set_bundle_folder(folder: str) -> None:
    """Keep a folder; "" goes back to the bundle of the extension.

    Raises:
        BundleError: when the folder is no bundle; the setting stays.
    """
    if folder.strip():
        folder = str(bundles.check(folder).folder)
    qt.QSettings().setValue(_BUNDLE, folder.strip())


def bundle() -> Bundle:
    """The bundle to be used.

    Raises:
        BundleError: when the chosen folder is none (any more).
    """
    return bundles.choose(bundle_folder())
