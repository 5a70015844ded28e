"""From one angiogram to its measurements, and to the files that tell them: page, tables, graph, DICOM object."""

import lazy_loader

# Names are imported when they are asked for, as everywhere in the package.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "analyse": ["analyse"],
        "options": ["Options"],
        "measurements": ["Analysis", "FrameChoice", "MeasuredPath", "Source"],
    },
)
