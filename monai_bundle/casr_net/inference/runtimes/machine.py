"""What a measured choice holds for: this machine, and the threads that may be used."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path
from typing import Any

from ..threads import current_shares

__all__ = ["avx2_supported", "avx512_supported", "bfloat16_supported", "machine", "processor", "vnni_supported"]

LIMIT = "ONEDNN_MAX_CPU_ISA"
"""Variable of the environment by which oneDNN, which computes for torch and OpenVINO, is kept from instructions."""


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
    limit = f", limited to {os.environ[LIMIT]}" if LIMIT in os.environ else ""
    return f"{name}, {'AVX512-BF16' if bfloat16_supported() else 'no AVX512-BF16'}{limit}"


def bfloat16_supported() -> bool:
    """Whether the processor computes in bfloat16 (AVX512-BF16): as torch has it, but without torch on Linux."""
    flags = _flags()
    if flags is not None:
        return "avx512_bf16" in flags
    import torch

    return torch.cpu._is_avx512_bf16_supported()


def vnni_supported() -> bool:
    """Whether the processor sums products of 8 bits in 32 (AVX512-VNNI or AVX-VNNI). AVX2 without it sums pairs in 16,
    which overflow (NNCF's documentation of ``OverflowFix``)."""
    names = {"avx512_vnni", "avx_vnni"}
    flags = _flags()
    if flags is not None:
        return not names.isdisjoint(flags)
    import torch

    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(known.get(name) for name in names) or torch.cpu._is_vnni_supported()


def avx512_supported() -> bool:
    """Whether the processor has the vectors of 512 bits that oneDNN uses (AVX-512 F, BW, VL and DQ)."""
    flags = _flags()
    return "avx512bw" in flags if flags is not None else _in_opencv(256)


def avx2_supported() -> bool:
    """Whether the processor has vectors of 256 bits for whole numbers too."""
    flags = _flags()
    return "avx2" in flags if flags is not None else _in_opencv(11)


def _in_opencv(feature: int) -> bool:
    """By its number in OpenCV (``cv::CpuFeatures``: 11 is AVX2, 256 is AVX512_SKX), which Python has no names for."""
    import cv2

    return bool(cv2.checkHardwareSupport(feature))


def _flags() -> set[str] | None:
    """Names of instruction sets, as Linux has them, without those that oneDNN is kept from; None elsewhere."""
    text = _cpuinfo().get("flags")
    if text is None:
        return None
    limit = os.environ.get(LIMIT, "ALL").upper()
    without: tuple[str, ...] = ()
    if limit in ("SSE41", "AVX", "AVX2"):
        without = ("avx512", "avx_vnni", *(["avx2"] if limit != "AVX2" else []))
    elif limit.startswith("AVX2_VNNI"):
        without = ("avx512",)
    elif limit == "AVX512_CORE":
        without = ("avx512_vnni", "avx_vnni", "avx512_bf16")
    elif limit == "AVX512_CORE_VNNI":
        without = ("avx512_bf16",)
    return {name for name in text.split() if not name.startswith(without)} if without else set(text.split())


@functools.cache
def _cpuinfo() -> dict[str, str]:
    """What Linux tells of the first processor; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":")[::2] for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, value in pairs}
