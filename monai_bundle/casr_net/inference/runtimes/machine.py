"""What a measured choice holds for: this machine, and the threads that may be used."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from ..threads import current_shares

__all__ = ["machine"]


def machine() -> dict[str, Any]:
    """Processor, number of processors, and threads of a frame."""
    return {
        "processor": _processor(),
        "system": platform.system(),
        "processors": os.cpu_count(),
        "threads": current_shares().each,
    }


def _processor() -> str:
    """Its name, and whether it has bfloat16: two kinds of one name are told apart on virtual machines."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
            break
    return f"{name}, {'AVX512-BF16' if torch.cpu._is_avx512_bf16_supported() else 'no AVX512-BF16'}"
