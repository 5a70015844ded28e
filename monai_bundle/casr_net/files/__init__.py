"""Angiograms and masks in files: reading, names, and results that are written whole or not at all."""

import lazy_loader

# Names are imported when they are asked for: torch, MONAI and pydicom take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "atomic": ["PART", "write_atomically"],
        "dicom": ["open_dicom", "patient_id", "read_dicom", "save_dicom", "set_encoding"],
        "dicom_seg": [
            "DicomSegmentation",
            "SEGMENTATION_STORAGE",
            "make_segmentation",
            "parse_segmentation",
            "write_segmentation",
        ],
        "frames": [
            "ArrayFrames",
            "FrameSource",
            "MAX_FILE_BYTES",
            "MAX_FRAMES",
            "MAX_FRAME_BYTES",
            "MAX_SIDE",
            "MIN_SIDE",
            "Opened",
            "PlainFrames",
            "check_extent",
            "spool",
        ],
        "images": ["Angiogram", "decode", "is_image", "read_angiogram"],
        "inputs": ["Inputs", "find_inputs"],
        "intensity": ["intensity_range"],
        "masks": ["read_mask"],
        "names": ["DICOM", "RASTER", "VOLUME", "is_hidden", "plain_stem", "suffix"],
        "nrrd_images": ["LPS_TO_RAS", "read_nrrd"],
        "overlay": ["draw_overlay"],
        "readers": ["AngiogramReader", "MaskReader"],
        "results": ["FORMATS", "ResultWriter", "write_map"],
    },
)
