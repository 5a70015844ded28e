"""Stage 3 of the paper: from probability to contours: false components removed, broken vessels joined."""

import lazy_loader

# Names are imported when they are asked for: torch, MONAI and pydicom take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "contours": ["RefinementParameters", "fill_pinholes", "reconnect", "refine", "remove_components"],
        "fieldmask": ["MaskOutsideFieldd"],
        "reconnection": ["Bridge", "BridgeLimits", "VesselEnds", "draw_bridges", "find_bridges", "vessel_ends"],
        "transform": ["Probabilityd", "RefineVesselsd"],
    },
)
