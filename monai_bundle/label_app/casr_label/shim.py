"""Lets torchvision, which MONAI Label imports for two small helpers, load beside a torch of another build.

Its wheel from PyPI is built for CUDA; beside a CPU build of torch its import stops at two operators that are missing.
They are only declared here, so that operations on boxes stay unusable; nobody here needs them. With a torchvision that
fits to torch nothing happens.
"""

from __future__ import annotations

import contextlib

import torch

__all__: list[str] = []

_library = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    with contextlib.suppress(RuntimeError):  # torchvision's own library has declared it
        _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
