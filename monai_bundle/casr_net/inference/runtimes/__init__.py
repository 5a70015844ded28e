"""What computes the network on a CPU: torch, ONNX Runtime or OpenVINO, chosen by measuring the machine."""

import lazy_loader

# Names are imported when they are asked for: torch and the runtimes take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "engines": ["Engine", "OnnxEngine", "OpenVINOEngine", "TorchEngine"],
        "packages": ["RUNTIMES", "installed_runtimes", "runtime_package"],
        "prepared": ["Runtimes"],
    },
)
