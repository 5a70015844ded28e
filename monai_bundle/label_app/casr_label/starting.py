"""A look at what is asked for before MONAI Label starts a process for it, which would refuse it many seconds later."""

from __future__ import annotations

from typing import Any

from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.async_tasks.task import AsyncTask

from .app import MODEL

__all__ = ["check_trainings"]


def check_trainings() -> None:
    """Let trainings be refused when they are asked for, with :meth:`CASRTrainTask.check`."""
    run = AsyncTask.run

    def checked(
        method: str, request: dict[str, Any] | None = None, params: dict[str, Any] | None = None, **more: Any
    ) -> Any:
        asked = {**(request or {}), **(params or {})}
        if method == "train" and asked.get("model", MODEL) == MODEL:  # another one MONAI Label refuses by its name
            app = app_instance()
            app.trainer.check(asked, app.datastore())
        return run(method, request=request, params=params, **more)

    AsyncTask.run = staticmethod(checked)
