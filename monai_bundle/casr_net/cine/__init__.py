"""From a cine to its frames: contrast over time, key frames, fusion of neighbours."""

import lazy_loader

# Names are imported when they are asked for, as everywhere in the package.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "contrast": ["ContrastMeter", "contrast_curve"],
        "curve": ["PHASES", "ContrastCurve"],
        "fusion": ["fused_maps"],
        "keyframes": ["KeyFrame", "key_frames"],
        "selection": ["KeyFrameSelection"],
        "survey": ["survey"],
    },
)
