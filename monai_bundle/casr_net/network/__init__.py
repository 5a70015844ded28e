"""Stage 2 of the paper: encoders, Self-ONN decoder, weights."""

import lazy_loader

# Names are imported when they are asked for: torch, MONAI and pydicom take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "casrnet": ["CASRNet", "SelfONN2d"],
        "encoders": ["DenseNet121Encoder", "ENCODERS", "EfficientNetLite0Encoder", "load_pretrained_encoder"],
        "selfonn": ["SelfONN2d"],
        "weights": ["load_weights", "read_state_dict", "save_weights", "sha256", "state_digest"],
    },
)
