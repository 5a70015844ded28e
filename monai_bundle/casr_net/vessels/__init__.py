"""What is measured on vessels; so far the size of a pixel in the patient."""

import lazy_loader

# Names are imported when they are asked for, as everywhere in the package.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "scale": ["Scale", "pixel_size"],
    },
)
