"""Masks against references."""

import lazy_loader

# Names are imported when they are asked for: torch, MONAI and pydicom take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "compare": ["evaluate_folders", "format_report"],
        "metrics": [
            "ClDiceMetric",
            "Counts",
            "cldice",
            "count_pixels",
            "dice",
            "dice_from_counts",
            "image_metrics",
            "pooled_metrics",
        ],
        "pairing": ["pair_frames"],
        "space": ["align"],
    },
)
