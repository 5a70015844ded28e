"""The server: MONAI Label's own, on the loopback interface, with limits and clear errors.

``python -m casr_label --studies FOLDER`` from the folder of main.py, or ``make label STUDIES=FOLDER``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

__all__ = ["PathGuard", "UploadLimit", "main", "make_server"]

APP = Path(__file__).resolve().parents[1]
MAX_UPLOAD_MB = 512
"""Of one request; a cine of 100 frames of 1024 x 1024 pixels of 16 bits has 200 MB. Our choice."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class UploadLimit:
    """ASGI middleware: requests above a size get 413; what is announced as too large is not even received.

    Args:
        app: what follows.
        limit: bytes of a request's body.
    """

    def __init__(self, app: Any, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self.limit:
            await _refuse(
                send, 413, f"the request has {length.decode('latin1')[:20]} bytes; the limit is {self.limit}."
            )
            return
        received, over = 0, False

        async def counted() -> MutableMapping[str, Any]:
            nonlocal received, over
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.limit:
                over = True
                return {"type": "http.disconnect"}
            return message

        async def answered(message: MutableMapping[str, Any]) -> None:
            if not over:
                await send(message)

        try:
            await self.app(scope, counted, answered)
        except Exception:
            if not over:
                raise
        if over:
            await _refuse(send, 413, f"the request has more than {self.limit} bytes, which is the limit.")


class PathGuard:
    """ASGI middleware: names in addresses and queries that could lead out of a folder get 400.

    Sending weights (``PUT /model``) is refused: they would replace the ones of the bundle, and are code to be trusted.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = unquote(str(scope.get("raw_path", b"").decode("latin1") or scope["path"]))
            query = parse_qsl(scope.get("query_string", b"").decode("latin1"), keep_blank_values=True)
            bad = _leads_out(path.lstrip("/")) or path.startswith("//")
            for name, value in query:
                if _leads_out(value):
                    await _refuse(send, 400, f"{name} is {value[:100]!r}: expected a name without a path.")
                    return
            if bad:
                await _refuse(send, 400, "the address leads out of its folder.")
                return
            if path.startswith("/session") and any(name == "uncompress" for name, _ in query):
                # Archives may hold paths that lead out of the folder where they are unpacked.
                await _refuse(send, 400, "archives are not unpacked; send the image itself.")
                return
            if scope["method"] == "PUT" and path.startswith("/model"):
                await _refuse(
                    send, 403, "weights cannot be sent; train them here, or start the server with another bundle."
                )
                return
        await self.app(scope, receive, send)


def _leads_out(value: str) -> bool:
    return value.startswith("/") or "\\" in value or "\x00" in value or ".." in value.split("/")


async def _refuse(send: Send, status: int, text: str) -> None:
    body = json.dumps({"detail": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})


def make_server(studies: str, port: int, state_dir: str = "", max_upload_mb: int = MAX_UPLOAD_MB) -> Any:
    """MONAI Label's FastAPI application for this app, with middleware and error handlers."""
    environment = {
        "MONAI_LABEL_APP_DIR": str(APP),
        "MONAI_LABEL_STUDIES": studies,
        "MONAI_LABEL_APP_CONF": json.dumps({"state_dir": state_dir} if state_dir else {}),
        "MONAI_LABEL_SERVER_PORT": str(port),
        "MONAI_LABEL_TRACKING_ENABLED": "false",
    }
    os.environ.update(environment)
    os.environ.setdefault("MONAI_LABEL_DICOMWEB_SEARCH_FILTER", json.dumps({"Modality": "XA"}))
    # Scores are made when they are asked for: each time would start a process after every question for a next image.
    os.environ.setdefault("MONAI_LABEL_AUTO_UPDATE_SCORING", "false")
    paths = [str(APP), str(APP.parent), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # of the processes for training, scoring and batches
    for folder in (str(APP), str(APP.parent)):
        if folder not in sys.path:
            sys.path.insert(0, folder)

    from fastapi import Request
    from fastapi.responses import JSONResponse
    from monailabel.app import app
    from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException, MONAILabelException

    import casr_label.shim  # noqa: F401
    from casr_net.errors import CASRError, WeightsError

    from .pacs import PACSError
    from .requests import NotFoundError

    def answer(status: int) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
        async def handler(_request: Request, error: Exception) -> JSONResponse:
            return JSONResponse({"detail": str(getattr(error, "msg", error))}, status_code=status)

        return handler

    for kind, status in (
        (CASRError, 400), (NotFoundError, 404), (WeightsError, 500), (PACSError, 502), (json.JSONDecodeError, 400),
        (MONAILabelException, 400), (ImageNotFoundException, 404), (LabelNotFoundException, 404),
    ):  # fmt: skip
        app.add_exception_handler(kind, answer(status))
    app.add_middleware(PathGuard)
    app.add_middleware(UploadLimit, limit=max_upload_mb * 2**20)
    return app


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted; returns the exit code."""
    parser = argparse.ArgumentParser(prog="casr_label", description=__doc__)
    parser.add_argument("--studies", required=True, help="folder of images, or address of a DICOMweb server")
    parser.add_argument("--host", default="127.0.0.1", help="interface (default: this computer only)")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--state", default="", help="folder of weights and runs (default: .casr in the studies folder)")
    parser.add_argument("--max-upload-mb", type=int, default=MAX_UPLOAD_MB, help="limit of one request")
    options = parser.parse_args(arguments)
    studies = options.studies
    if not studies.startswith(("http://", "https://")):
        if not Path(studies).is_dir():
            print(f"casr_label: {studies}: no such folder.", file=sys.stderr)
            return 2
        studies = str(Path(studies).resolve())
    if not 1 <= options.port <= 65535 or options.max_upload_mb < 1:
        print(f"casr_label: port {options.port}: expected 1 to 65535; limit in MB: 1 or more.", file=sys.stderr)
        return 2
    import uvicorn

    server = make_server(studies, options.port, options.state, options.max_upload_mb)
    uvicorn.run(server, host=options.host, port=options.port, log_level="info")
    return 0
