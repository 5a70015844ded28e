"""Angiograms and masks in files: reading, names, and results that are written whole or not at all."""

import lazy_loader

# Names are imported when they are asked for: torch, MONAI and pydicom take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "dicom_capture": ["write_capture"],
        "dicom_presentation": ["write_presentation"],
        "dicom_seg": ["make_segmentation", "write_segmentation"],
        "images": ["Angiogram", "read_angiogram"],
        "inputs": ["find_inputs"],
        "intensity": ["Attenuation", "GreyRule"],
        "kinds": ["is_image"],
        "maps": ["write_map"],
        "masks": ["MaskFile", "open_mask", "read_mask"],
        "readers": ["AngiogramReader", "MaskReader"],
        "results": ["ResultWriter"],
        "segmentations": ["DicomSegmentation", "parse_segmentation"],
    },
)
