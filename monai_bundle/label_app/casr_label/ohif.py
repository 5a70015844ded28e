"""OHIF below ``/ohif/``, as MONAI Label brings it, with what :mod:`casr_label.ohif_changes` says changed in memory."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

from .ohif_changes import CHANGED

__all__ = ["OHIF", "add_ohif"]

logger = logging.getLogger(__name__)

NO_PACS = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="dark light">
<title>OHIF needs a PACS</title>
<body style="font-family: sans-serif; max-width: 36em; margin: 4em auto; padding: 0 1em"><h1>OHIF needs a PACS</h1>
<p>This server's images come from a folder. OHIF shows what a PACS holds, and reads nothing else.</p>
<p><a href="/">The page of this server</a> shows the images of the folder. To use OHIF, start the server with the
address of a DICOMweb server in place of the folder: <code>make label STUDIES=http://127.0.0.1:8042/dicom-web</code>.</p>
</body></html>"""
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}


class OHIF(StaticFiles):
    """The viewer's files.

    Args:
        folder: of the viewer; made known files of it are changed in memory, the others served as they are.

    Attributes:
        unchanged: names of files that should be changed, and are not as expected, or not there.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, check_dir=False)
        self.unchanged: list[str] = []
        self._made: dict[str, bytes] = {}
        for name, changed in CHANGED.items():
            try:
                content = (folder / name).read_bytes()
            except OSError:
                content = b""
            if hashlib.sha256(content).hexdigest() == changed.sha256:
                self._made[name] = changed.of(content.decode()).encode()
            else:
                self.unchanged.append(name)
        if self.unchanged:
            logger.warning(
                "OHIF: %s: not the known version, and served unchanged; its MONAI Label panel may not work with XA.",
                ", ".join(self.unchanged),
            )
        try:
            self._index = self._made.get("index.html") or (folder / "index.html").read_bytes()
        except OSError:
            self._index = b""
        self._policy = _policy(self._index.decode(errors="replace"))

    @property
    def is_there(self) -> bool:
        """Whether there is a viewer at all."""
        return bool(self._index)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file; for a path of the viewer's own, such as ``viewer``, its page."""
        try:
            return await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or PurePosixPath(path).suffix or not self.is_there:
                raise
            return self._answer("index.html", self._index, scope)

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        name = os.path.relpath(full_path, str(self.directory))
        if name in self._made or name == "index.html":
            return self._answer(name, self._made.get(name, self._index), scope)
        response = super().file_response(full_path, stat_result, scope, status_code)
        self._mark(response)
        return response

    def _answer(self, name: str, content: bytes, scope: Scope) -> Response:
        response = Response(content, media_type=_KINDS[PurePosixPath(name).suffix])
        response.headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        self._mark(response)
        if self.is_not_modified(response.headers, Headers(scope=scope)):
            return NotModifiedResponse(response.headers)
        return response

    def _mark(self, response: Response) -> None:
        response.headers["Content-Security-Policy"] = self._policy
        response.headers["Cache-Control"] = "no-cache"
        response.headers["Referrer-Policy"] = "same-origin"


def _policy(page: str) -> str:
    """Nothing comes from elsewhere; of scripts inside the page only those that stand there now. The viewer sets styles,
    runs WebAssembly and its workers, and makes pictures and data of its own (Content Security Policy Level 3)."""
    scripts = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in _INLINE.findall(page)
    )
    return (
        f"default-src 'self'; script-src 'self' 'wasm-unsafe-eval' {scripts}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; connect-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'self'; object-src 'none'"
    )


def add_ohif(app: FastAPI, has_pacs: bool) -> None:
    """Serve it in place of MONAI Label's own route; in front of a folder a page that tells what it needs.

    Args:
        app: where to. ``app.state.ohif`` becomes the viewer, or None in front of a folder.
        has_pacs: whether images come from a PACS.
    """
    from monailabel.endpoints import ohif

    ohif.router.routes.clear()
    app.state.ohif = OHIF(Path(str(ohif.__file__)).parent / "static" / "ohif") if has_pacs else None
    if has_pacs:
        app.mount("/ohif", app.state.ohif, name="ohif")
    else:
        for path in ("/ohif", "/ohif/{path:path}"):
            app.add_api_route(path, _no_pacs, include_in_schema=False)


def _no_pacs(path: str = "") -> Any:
    """404: there is nothing to be viewed."""
    return HTMLResponse(NO_PACS, 404, {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"})
