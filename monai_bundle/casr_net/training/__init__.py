"""Cases, losses and handlers of the training configurations."""

import lazy_loader

# Names are imported when they are asked for: torch, MONAI and pydicom take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cases": ["balanced_weights", "cases_digest", "join_cases", "load_cases", "load_split", "split_rows"],
        "checkpoint": ["Checkpoint", "ModelSelection"],
        "deep": ["DeepSupervision"],
        "handlers": ["CsvLog", "EpochSeed"],
        "losses": ["DiceCEclDiceLoss", "SKELETON", "UNKNOWN"],
        "memory": ["load_partial"],
        "negatives": ["load_negatives"],
        "optimisation": ["ClipGradients", "UpdateAverage", "WeightAverage"],
        "precision": ["PrecisionInferer", "place_network", "uses_bfloat16"],
        "resident": ["train_resident"],
        "selftraining": [
            "ForgetUnknownd",
            "MarkUnknownd",
            "PseudoLabelRule",
            "load_pseudo_labels",
            "write_pseudo_labels",
        ],
        "skeleton": ["MarkSkeletond", "tubed_skeleton"],
    },
)
