"""What is told of an error to a program in front of this one."""

from __future__ import annotations

import sys
import traceback

from ..errors import shown
from .bundle import expected_error

__all__ = ["told"]

DETAILS = 4000
"""Characters of a traceback that are passed on."""


def told(error: Exception) -> dict[str, str]:
    """Kind and text, one line, of an error; of one that nobody expected also ``details``, its traceback (cut), which
    goes to standard error as well."""
    known = expected_error(error)
    if known is not None:
        return {"kind": type(known).__name__, "text": str(known)}
    if _lacks_memory(error):
        return {"kind": "MemoryError", "text": "The computer's memory does not suffice."}
    kind = type(error).__name__
    details = "".join(traceback.format_exception(error))
    sys.stderr.write(details)
    reason = shown(" ".join(str(error).split()), 200)
    text = f"The worker failed unexpectedly ({kind}: {reason}); its log tells where."
    if len(details) > DETAILS:
        details = f"{details[: DETAILS // 2]}\n...\n{details[-DETAILS // 2 :]}"
    return {"kind": kind, "text": text, "details": details}


def _lacks_memory(error: BaseException | None) -> bool:
    """Python's own error, which MONAI wraps in one of its own, or that of torch, which has no class for it."""
    while error is not None:
        if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
