"""Pixel data of DICOM files: where the frames lie, how they are decoded, what their words mean."""
