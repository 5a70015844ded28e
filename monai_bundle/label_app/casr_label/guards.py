"""Middleware that refuses what no request needs: large bodies, names that lead out of folders, weights."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from .asgi import SAFE, Receive, Scope, Send, decoded, header, refuse

__all__ = ["BODY_BYTES", "HearOut", "PathGuard", "UploadLimit"]

BODY_BYTES = 2**20
"""Of a body that is no form with files; it is held in memory. Our choice."""


class HearOut:
    """ASGI middleware: what is still to come of a request is read and thrown away before it is refused. Most clients
    send all of it before they listen; with the connection closed meanwhile, they would not get the reason.

    Args:
        app: what follows.
    """

    BYTES, SECONDS = 64 * 2**20, 10.0  # more is not listened to; our choice

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        more = scope["type"] == "http"

        async def heard() -> MutableMapping[str, Any]:
            nonlocal more
            message = await receive()
            more = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def rest() -> None:
            count = 0
            while more and count < self.BYTES:
                count += len((await heard()).get("body", b""))

        async def answered(message: MutableMapping[str, Any]) -> None:
            if more and message["type"] == "http.response.start" and message["status"] >= 400:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(rest(), self.SECONDS)
            await send(message)

        await self.app(scope, heard, answered)


class UploadLimit:
    """ASGI middleware: requests above a size get 413, if they announce it at once, else as soon as it is reached.

    Args:
        app: what follows.
        limit: bytes of a form with files, which go to the disk as they come; other bodies have :data:`BODY_BYTES`.
    """

    def __init__(self, app: Any, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        files = (header(scope, b"content-type") or "").strip().lower().startswith("multipart/")
        limit = self.limit if files else min(BODY_BYTES, self.limit)
        length = header(scope, b"content-length") or "0"
        if not (length.isascii() and length.isdigit()) or len(length) > 18 or int(length) > limit:
            await refuse(send, 413, f"the request has {length[:20]} bytes; the limit is {limit}.")
            return
        received, over = 0, False

        async def counted() -> MutableMapping[str, Any]:
            nonlocal received, over
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
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
            await refuse(send, 413, f"the request has more than {limit} bytes, which is the limit.")


class PathGuard:
    """ASGI middleware: names in addresses and queries that could lead out of a folder get 400, however often they are
    encoded.

    Changing weights (``/model``) is refused: they would replace the ones of the bundle, and are code to be trusted.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = _fault(scope) if scope["type"] == "http" else None
        if found is not None:
            await refuse(send, *found)
            return
        await self.app(scope, receive, send)


def _fault(scope: Scope) -> tuple[int, str] | None:
    path = decoded(scope.get("raw_path", b"").decode("latin1") or scope["path"])
    if path is None or path.startswith("//") or _leads_out(path.lstrip("/")):
        return 400, "the address leads out of its folder."
    query = parse_qsl(scope.get("query_string", b"").decode("latin1"), keep_blank_values=True)
    for name, value in query:
        plain = decoded(value)
        if plain is None or _leads_out(plain):
            return 400, f"{name[:50]!r} is {value[:100]!r}: expected a name without a path."
    if path.startswith("/session") and any(name == "uncompress" for name, _ in query):
        # Archives may hold paths that lead out of the folder where they are unpacked.
        return 400, "archives are not unpacked; send the image itself."
    if path.startswith("/model") and scope["method"] not in SAFE:
        return 403, "weights cannot be changed; train them here, or start the server with another bundle."
    return None


def _leads_out(value: str) -> bool:
    return value.startswith("/") or "\\" in value or "\x00" in value or ".." in value.split("/")
