"""The network on files and arrays: configuration, device, loop, record."""

import lazy_loader

# Names are imported when they are asked for: torch, MONAI and pydicom take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "calibrated": ["WeightsCalibration"],
        "device": ["resolve_device"],
        "label_form": ["LabelSliced"],
        "bundle": ["build", "bundle_root", "config_files", "expected_error", "load_parser"],
        "predict": ["FrameInferer", "predict"],
        "record": ["RunReport"],
        "evaluator": ["FrameDataset", "FrameEvaluator", "SaveResults"],
        "run": ["run_inference", "wanted_items"],
        "saving": ["FrameSaver"],
        "segmenter": ["Segmentation", "Segmenter"],
        "settings": ["SETTINGS", "check_keys", "check_settings", "check_switches"],
    },
)
