"""The start of ``casr segment`` without torch: what an earlier run of the same settings has found out is kept."""

import lazy_loader

# Names are imported when they are asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "idle": ["idle_report", "keep_settings"],
        "look": ["FirstLook"],
        "making": ["keep_plan"],
        "order": ["Order"],
        "plan": ["Plan", "Preparation"],
        "run": ["PlannedFrames", "PlannedNetwork", "PlannedRun", "planned_network", "planned_run"],
    },
)
