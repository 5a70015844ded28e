"""Angiograms and masks in files: reading, names, and results that are written whole or not at all."""

import lazy_loader

# Names are imported when they are asked for: torch, MONAI and pydicom take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "dicom": ["open_dicom", "patient_id", "read_dicom", "save_dicom", "set_encoding"],
        "dicom_seg": [
            "DicomSegmentation",
            "SEGMENTATION_STORAGE",
            "make_segmentation",
            "parse_segmentation",
            "write_segmentation",
        ],
        "images": ["Angiogram", "AngiogramReader", "MAX_SIDE", "MIN_SIDE", "decode", "is_image", "read_angiogram"],
        "inputs": ["Inputs", "find_inputs", "is_hidden", "plain_stem"],
        "masks": ["MaskReader", "read_mask"],
        "nrrd_images": ["LPS_TO_RAS", "read_nrrd"],
        "overlay": ["draw_overlay"],
        "results": ["FORMATS", "PART", "ResultWriter", "write_atomically", "write_map"],
    },
)
