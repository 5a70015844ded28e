"""Masks against references."""

import lazy_loader

# Names are imported when they are asked for: torch, MONAI and pydicom take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bootstrap": ["Difference", "case_values", "paired_difference"],
        "compare": ["evaluate_folders", "format_report"],
        "crossval": ["chosen", "next_unit", "run_plan"],
        "evidence": ["work"],
        "heldout": ["evaluate_cases", "evaluate_negatives", "evaluate_stenoses", "recall_by_width", "summarise"],
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
        "pace": ["Pace", "StoppedError"],
        "pairing": ["pair_frames"],
        "perturbations": ["PERTURBATIONS", "perturbed"],
        "plan": ["Run", "Stage", "Unit", "load_plan"],
        "progress": ["status"],
        "segments": ["evaluate_segments", "segment_recall", "summarise_segments"],
        "space": ["align"],
        "stenoses": ["crosses", "load_stenoses"],
        "workshop": ["Workshop"],
    },
)
