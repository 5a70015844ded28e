"""Angiograms and cines with known truth."""

import lazy_loader

# Names are imported when they are asked for: torch, MONAI and pydicom take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "angiogram": ["SyntheticAngiogram", "make_angiogram", "make_cine"],
        "background": ["Collimator", "anatomy", "collimator", "soft_noise", "tube"],
        "dataset": ["write_dataset"],
        "negative": ["make_negative"],
        "heart": ["BRANCHES", "Branch", "COURSES", "heart_surface"],
        "scene": ["MAX_SIZE", "MIN_SIZE", "Scene", "make_scene"],
        "tree": ["Segment", "Stenosis", "Tree", "grow_tree"],
        "xray": ["Detector", "Lumen", "expose", "thickness_and_mask"],
    },
)
