"""Which file the frames of a volume node come from: by Slicer's DICOM database, or by the node's storage node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

from .sources import FrameSource

__all__ = ["dicom_instance", "file_frame", "file_of", "unchanged"]


def dicom_instance(source: FrameSource) -> str | None:
    """SOP instance UID, if the image came through Slicer's DICOM module; of several the first."""
    uids = _instances(source)
    return uids[0] if uids else None


def file_of(source: FrameSource) -> str:
    """The one file that holds the frames; "" where there is none, it is not known, or there are several.

    Whether its pixels are still those of the node is for the worker to see, which reads it.
    """
    uids = _instances(source)
    if uids:
        name = str(slicer.dicomDatabase.fileForInstance(uids[0]) or "") if len(uids) == 1 else ""
    else:
        names = {_stored_in(node) for node in _nodes(source)} - {""}
        name = names.pop() if len(names) == 1 else ""
    try:
        return str(Path(name).resolve()) if name and Path(name).is_file() else ""
    except OSError:
        return ""


def file_frame(source: FrameSource, index: int) -> int:
    """The frame of the file that a frame of the source is, both counted from 0."""
    if source.kind != "sequence":
        return index
    browser = slicer.mrmlScene.GetNodeByID(source.browser_id)
    sequence = slicer.mrmlScene.GetNodeByID(source.sequence_id)
    # Cines that are browsed together may have different times; the browser shows the nearest one before.
    value = browser.GetMasterSequenceNode().GetNthIndexValue(index)
    return max(0, int(sequence.GetItemNumberFromIndexValue(value, False)))


def unchanged(source: FrameSource) -> bool:
    """Whether the pixels are as they were when Slicer read them from their file.

    Known only of nodes with a storage node; what the DICOM module loads has none.
    """
    node = slicer.mrmlScene.GetNodeByID((source.sequence_id if source.kind == "sequence" else source.volume_id) or "")
    return node is not None and bool(_stored_in(node)) and not node.GetModifiedSinceRead()


def _nodes(source: FrameSource) -> list[Any]:
    nodes = [slicer.mrmlScene.GetNodeByID(node_id or "") for node_id in (source.volume_id, source.sequence_id)]
    return [node for node in nodes if node is not None]


def _instances(source: FrameSource) -> list[str]:
    if getattr(slicer, "dicomDatabase", None) is None:
        return []
    for node in _nodes(source):
        uids = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
        if uids:
            return uids
    return []


def _stored_in(node: Any) -> str:
    """File of the node's storage node; "" where it has none, or takes several files."""
    storage = node.GetStorageNode()
    if storage is None or storage.GetNumberOfFileNames() > 1:
        return ""
    return str(storage.GetFullNameFromFileName() or "")
