"""Stage 1 of the paper: exposed field, CLAHE, improved Ben Graham method, as functions and MONAI transforms."""

import lazy_loader

# Names are imported when they are asked for: torch, MONAI and pydicom take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": ["ImageTransformd", "as_numpy", "like"],
        "channels": ["CHANNELS", "network_channels"],
        "field": ["field_of_view", "fill_outside"],
        "filters": ["ben_graham", "clahe"],
        "grid": ["longest_size", "resampled"],
        "load": ["LoadAngiogramd", "LoadMaskd", "image_tensor"],
        "transforms": ["BenGrahamd", "CLAHEd", "FieldOfViewd", "MultichannelPreprocessd", "ResizeLongestd"],
    },
)
