"""What the middleware of this server shares: types, decoding of addresses, and short answers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

__all__ = ["SAFE", "Receive", "Scope", "Send", "decoded", "header", "refuse", "respond"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing (RFC 9110 9.2.1)."""


def decoded(text: str) -> str | None:
    """A text without percent-encoding, however often it was encoded; None when five times are not enough.

    Programs behind this one may decode once more: ``%252e%252e`` is ``..`` then.
    """
    for _ in range(5):
        plain = unquote(text)
        if plain == text:
            return text
        text = plain
    return None


def header(scope: Scope, name: bytes) -> str | None:
    """A header of a request, by its lower-case name; of several the first; None when it is absent."""
    return next((value.decode("latin1") for key, value in scope["headers"] if key == name), None)


async def respond(send: Send, status: int, body: bytes, kind: str, *more: tuple[bytes, bytes]) -> None:
    """Send a whole answer, after which the connection is closed.

    Args:
        send: of ASGI.
        status: of HTTP.
        body: all of it.
        kind: its media type.
        more: further headers.
    """
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, status: int, text: str, *more: tuple[bytes, bytes]) -> None:
    """Send a reason, as FastAPI does."""
    await respond(send, status, json.dumps({"detail": text}).encode(), "application/json", *more)
