"""What a measured choice holds for: this machine, and the threads that may be used."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path
from typing import Any

from ..threads import current_shares

__all__ = ["bfloat16_supported", "machine", "processor", "vnni_supported"]


def machine() -> dict[str, Any]:
    """Processor, number of processors, and threads of a frame."""
    return {
        "processor": processor(),
        "system": platform.system(),
        "processors": os.cpu_count(),
        "threads": current_shares().each,
    }


def processor() -> str:
    """Its name, and whether it has bfloat16: two kinds of one name are told apart on virtual machines."""
    name = _cpuinfo().get("model name") or platform.processor() or platform.machine()
    return f"{name}, {'AVX512-BF16' if bfloat16_supported() else 'no AVX512-BF16'}"


def bfloat16_supported() -> bool:
    """Whether the processor computes in bfloat16 (AVX512-BF16): as torch has it, but without torch on Linux."""
    flags = _cpuinfo().get("flags")
    if flags is not None:
        return "avx512_bf16" in flags.split()
    import torch

    return torch.cpu._is_avx512_bf16_supported()


def vnni_supported() -> bool:
    """Whether the processor sums products of 8 bits in 32 (AVX512-VNNI or AVX-VNNI). AVX2 without it sums pairs in 16,
    which overflow (NNCF's documentation of ``OverflowFix``)."""
    names = {"avx512_vnni", "avx_vnni"}
    flags = _cpuinfo().get("flags")
    if flags is not None:
        return not names.isdisjoint(flags.split())
    import torch

    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(known.get(name) for name in names) or torch.cpu._is_vnni_supported()


@functools.cache
def _cpuinfo() -> dict[str, str]:
    """What Linux tells of the first processor; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":")[::2] for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, value in pairs}
