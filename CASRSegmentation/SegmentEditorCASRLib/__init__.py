"""Segment Editor effect "Coronary artery (CASR)"; Slicer looks the class up here, by this folder's name."""

from .SegmentEditorEffect import SegmentEditorEffect

__all__ = ["SegmentEditorEffect"]
