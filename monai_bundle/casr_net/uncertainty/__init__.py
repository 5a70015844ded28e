"""What a probability is worth."""

import lazy_loader

# Names are imported when they are asked for: torch, MONAI and pydicom take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "entropy": ["entropy_map", "entropy_score"],
        "temperature": ["TwoTemperatures", "fit_temperatures"],
        "platt": ["INTERCEPTS", "LogitCalibration", "SLOPES", "calibration_error", "fit_calibration"],
        "quality": [
            "FEATURES",
            "QualityModel",
            "fit_quality",
            "quality_features",
            "risk_coverage",
            "soft_dice_confidence",
        ],
    },
)
