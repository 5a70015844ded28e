"""Cases, losses and handlers of the training configurations."""

import lazy_loader

# Names are imported when they are asked for: torch, MONAI and pydicom take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cases": ["balanced_weights", "cases_digest", "load_cases"],
        "handlers": ["Checkpoint", "CsvLog", "EpochSeed", "ModelSelection"],
        "losses": ["DiceCEclDiceLoss", "UNKNOWN"],
        "optimisation": ["ClipGradients", "WeightAverage"],
        "precision": ["PrecisionInferer", "place_network", "uses_bfloat16"],
        "selftraining": [
            "ForgetUnknownd",
            "MarkUnknownd",
            "PseudoLabelRule",
            "join_cases",
            "load_pseudo_labels",
            "write_pseudo_labels",
        ],
    },
)
