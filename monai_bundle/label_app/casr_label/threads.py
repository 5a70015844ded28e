"""Requests beside each other: MONAI Label's endpoints are coroutines that never wait, so that each would keep all other
requests waiting until it has its answer. Here they become functions, which FastAPI runs in threads."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from fastapi import BackgroundTasks
from fastapi.responses import FileResponse
from fastapi.routing import APIRoute
from starlette.background import BackgroundTask
from starlette.datastructures import UploadFile

from casr_net.errors import UsageError

from .requests import checked_object

__all__ = ["answer_in_threads"]

_FILENAME = re.compile(r"[^\x00-\x1f]{1,200}")


def answer_in_threads() -> None:
    """Change all endpoints of MONAI Label, before the application is asked for the first time. Their temporary files
    are removed when they fail, too."""
    import monailabel.endpoints

    for module in pkgutil.iter_modules(monailabel.endpoints.__path__):
        router = getattr(importlib.import_module(f"monailabel.endpoints.{module.name}"), "router", None)
        for route in router.routes if router is not None else ():
            if isinstance(route, APIRoute) and inspect.iscoroutinefunction(route.endpoint):
                route.endpoint = _as_function(route.endpoint)


def _as_function(endpoint: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    def answer(**values: Any) -> Any:
        _check(values)
        try:
            found = _result(endpoint(**values))
        except BaseException:
            _remove_files(values)
            raise
        if isinstance(found, FileResponse) and not any(isinstance(v, BackgroundTasks) for v in values.values()):
            _remove_afterwards(found)
        return found

    # No __wrapped__, by which FastAPI would find the coroutine again.
    functools.update_wrapper(answer, endpoint)
    del answer.__wrapped__  # type: ignore[attr-defined]
    answer.__signature__ = inspect.signature(endpoint)  # type: ignore[attr-defined]
    return answer


def _result(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} waits for something; it must stay a coroutine")


def _check(values: dict[str, Any]) -> None:
    """Look at what MONAI Label uses without a look at it, before any work is done.

    Raises:
        UsageError: for parameters that are no JSON object or could not be stored as one, a file's name that is none, or
            a kind of result that only its own PACS datastore has.
    """
    if getattr(values.get("output"), "value", None) == "dicom_seg":
        raise UsageError("output is 'dicom_seg'; ask for 'image' with the parameter result_extension '.dcm'.")
    for name in ("params", "info", "wsi"):
        text = values.get(name)
        if isinstance(text, str):  # never empty: FastAPI takes the default then
            checked_object(name, text)
    for value in values.values():
        for file in value if isinstance(value, list) else [value]:
            given = file.filename if isinstance(file, UploadFile) else None
            name = re.split(r"[/\\]", given or "x")[-1]  # MONAI Label's client sends paths, of which this is used
            if not _FILENAME.fullmatch(name) or name in (".", ".."):
                raise UsageError(f"file {name[:100]!r}: expected a file's name, of at most 200 characters.")


def _remove_files(values: dict[str, Any]) -> None:
    """Do now what MONAI Label would have done after the answer: remove the files that were received."""
    for later in values.values():
        if isinstance(later, BackgroundTasks):
            for task in later.tasks:
                task.func(*task.args, **task.kwargs)


def _remove_afterwards(response: FileResponse) -> None:
    path = Path(response.path)
    if path.parent == Path(tempfile.gettempdir()) and response.background is None:
        response.background = BackgroundTask(path.unlink, missing_ok=True)
