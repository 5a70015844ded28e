"""For MONAI Label's stock app: ``import casr_label.stock`` in its ``sitecustomize.py``.

torchvision loads beside a CPU build of torch (:mod:`casr_label.shim`), and an input that the bundle refuses is answered
with 400 and the reason; MONAI Label's own server answers all errors with 500 and none.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import fastapi
from fastapi.responses import JSONResponse

from . import shim  # noqa: F401

__all__: list[str] = []

_BUNDLE = str(Path(__file__).resolve().parents[2])
if _BUNDLE not in sys.path:
    sys.path.append(_BUNDLE)


async def _refused(_request: fastapi.Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=400)


class _FastAPI(fastapi.FastAPI):
    def __init__(self, *args: Any, **options: Any) -> None:
        from casr_net.errors import CASRError

        super().__init__(*args, **options)
        self.add_exception_handler(CASRError, _refused)


fastapi.FastAPI = _FastAPI
