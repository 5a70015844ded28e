"""What is measured on vessels: their tree, centre lines, and the size of a pixel in the patient."""

import lazy_loader

# Names are imported when they are asked for, as everywhere in the package.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "catheter_scale": ["catheter_scale"],
        "centreline": ["centre_line", "refine_line"],
        "depth": ["vessel_depth"],
        "diameters": ["Settings", "measure_widths"],
        "doubt": ["with_intervals"],
        "measures": ["Interval", "Lesion", "METHODS", "Widths"],
        "paths": ["VesselPath"],
        "scale": ["Scale", "pixel_aspect", "pixel_size"],
        "skeleton": ["local_radius", "vessel_skeleton"],
        "stenosis": ["Search", "find_lesions", "narrowest"],
        "tree": ["VesselTree", "vessel_tree"],
        "treelesions": ["tree_lesions"],
    },
)
