"""Stage 1 of the paper: exposed field, CLAHE, improved Ben Graham method, as functions and MONAI transforms."""

import lazy_loader

# Names are imported when they are asked for: torch, MONAI and pydicom take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "field": ["field_of_view", "fill_outside"],
        "transforms": [
            "BenGrahamd",
            "CLAHEd",
            "FieldOfViewd",
            "InvertMonochrome1d",
            "MultichannelPreprocessd",
            "ScaleToUnitd",
            "SelectFramed",
            "ToGreyd",
            "ben_graham",
            "clahe",
            "intensity_range",
        ],
    },
)
