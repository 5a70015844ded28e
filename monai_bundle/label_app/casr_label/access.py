"""Who may ask this server: middleware for host names, origins of web pages, and an optional token."""

from __future__ import annotations

import hashlib
import hmac
import html
import ipaddress
import json
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import psutil

from casr_net.errors import UsageError

from .asgi import SAFE, Receive, Scope, Send, header, refuse, respond

__all__ = ["TOKEN_LENGTH", "OriginGuard", "TokenGuard", "allowed_hosts", "checked_token", "is_loopback"]

TOKEN_LENGTH = 16
"""Smallest number of characters of a token, so that it cannot be found by trying. Our choice."""
COOKIE = "casr_label"
FORM_BYTES = 8192
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")


def is_loopback(host: str) -> bool:
    """Whether an interface is reached from this computer only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def allowed_hosts(host: str, more: str) -> list[str]:
    """Names under which this server may be addressed: a page could have its own name lead here (DNS rebinding).

    Args:
        host: interface that is listened on; with "0.0.0.0" or "::" the computer's name and addresses are allowed.
        more: further names, separated by commas, such as "label.example.org" or "*.example.org".

    Raises:
        UsageError: for "*", which would allow every page to come in.
    """
    names = [*_LOOPBACK, host]
    if host.strip("[]") in ("0.0.0.0", "::", ""):
        names.append(socket.gethostname())
        for addresses in psutil.net_if_addrs().values():
            names += [
                one.address.partition("%")[0] for one in addresses if one.family in (socket.AF_INET, socket.AF_INET6)
            ]
    for name in filter(None, (part.strip() for part in more.split(","))):
        if "*" in name.removeprefix("*.") or "/" in name:
            raise UsageError(f"CASR_LABEL_HOSTS: {name[:100]!r}: expected a name of this server, or '*.example.org'.")
        names.append(name)
    bare = {name.lower().strip("[]") for name in names if name}
    return sorted(bare | {f"[{name}]" for name in bare if ":" in name})


def checked_token(token: str, host: str) -> str:
    """The token that clients must send, or "" if none is needed.

    Raises:
        UsageError: when it is missing though other computers can reach the server, or too short.
    """
    if not token and not is_loopback(host):
        raise UsageError(
            f"host {host} can be reached from other computers: set CASR_LABEL_TOKEN, which clients must send, to "
            f"{TOKEN_LENGTH} or more characters."
        )
    if token and (len(token) < TOKEN_LENGTH or not token.isascii() or not token.isprintable() or " " in token):
        raise UsageError(
            f"CASR_LABEL_TOKEN has {len(token)} characters; expected {TOKEN_LENGTH} or more, ASCII, without spaces."
        )
    return token


class OriginGuard:
    """ASGI middleware: what a web page of another origin wants to change is refused (403), and no other site may embed
    what is served here. Programs send no Origin, and are not concerned.

    Args:
        app: what follows.
        origins: of pages elsewhere that may do all that the own ones may, such as "https://ohif.example.org".
    """

    # No other site may show this one in a frame, nor use its pictures and scripts; types are taken as they are stated.
    HEADERS = (
        (b"cross-origin-resource-policy", b"same-origin"), (b"x-frame-options", b"SAMEORIGIN"),
        (b"x-content-type-options", b"nosniff"),
    )  # fmt: skip

    def __init__(self, app: Any, origins: Sequence[str] = ()) -> None:
        self.app = app
        self.origins = {origin.rstrip("/").lower() for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] not in SAFE and not self._may_change(scope):
            await refuse(send, 403, "a web page of another origin cannot change anything here.", *self.HEADERS)
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self.HEADERS]
            await send(message)

        await self.app(scope, receive, with_headers)

    def _may_change(self, scope: Scope) -> bool:
        origin = header(scope, b"origin")
        if origin is None:  # no browser, or an old one; newer ones tell where the page came from
            return header(scope, b"sec-fetch-site") in (None, "none", "same-origin")
        if origin.lower() in self.origins:
            return True
        # The name that was asked for was checked before; TLS may end at a proxy, so that the scheme is not known here.
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and parts.netloc.lower() == (header(scope, b"host") or "").lower()


class TokenGuard:
    """ASGI middleware: all but the login needs the token.

    Programs send ``Authorization: Bearer <token>``. Browsers get a cookie from the form at ``/login``. MONAI Label's
    clients, among them the module of 3D Slicer, ask ``/auth/`` whether they have to log in, and send user (any) and
    password (the token) to ``/auth/token``, which gives them the header to be sent.

    Args:
        app: what follows.
        token: see :func:`checked_token`.
    """

    def __init__(self, app: Any, token: str) -> None:
        self.app = app
        self._token = token.encode()
        # Not the token itself, so that a copied cookie does not give it away.
        self._cookie = hmac.new(self._token, b"casr_label cookie", hashlib.sha256).hexdigest().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return  # nothing here uses them
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        if path == "/login" and method in ("GET", "POST"):
            await self._login(scope, receive, send)
        elif path == "/auth/" and method == "GET":
            body = json.dumps({"enabled": True, "client_id": "casr_label", "realm": ""}).encode()
            await respond(send, 200, body, "application/json")
        elif path == "/auth/token" and method == "POST":
            await self._give_token(receive, send)
        elif not self._is_known(scope):
            if method == "GET" and "text/html" in (header(scope, b"accept") or ""):
                query = scope.get("query_string", b"").decode("latin1")
                wanted = f"{quote(path)}?{query}" if query else path  # OHIF is told by it what to open
                target = f"/login?next={quote(wanted)}".encode()
                await respond(send, 303, b"", "text/plain", (b"location", target))
            else:
                challenge = (b"www-authenticate", b'Bearer realm="casr_label"')
                await refuse(
                    send, 401, "log in at /login, or send the header 'Authorization: Bearer TOKEN'.", challenge
                )
        elif path == "/auth/token/valid":
            await respond(send, 200, b"{}", "application/json")
        else:
            await self.app(scope, receive, send)

    def _is_known(self, scope: Scope) -> bool:
        scheme, _, value = (header(scope, b"authorization") or "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(value.strip()):
            return True
        cookies = [part.strip().partition("=") for part in (header(scope, b"cookie") or "").split(";")]
        return any(name == COOKIE and hmac.compare_digest(value.encode(), self._cookie) for name, _, value in cookies)

    def _is_token(self, value: str) -> bool:
        return hmac.compare_digest(value.encode(), self._token)

    async def _give_token(self, receive: Receive, send: Send) -> None:
        if not self._is_token((await _form(receive)).get("password", "")):
            await refuse(send, 401, "the password is the server's token, CASR_LABEL_TOKEN; the user's name may be any.")
            return
        body = json.dumps({"access_token": self._token.decode(), "token_type": "Bearer"}).encode()
        await respond(send, 200, body, "application/json", (b"cache-control", b"no-store"))

    async def _login(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = parse_qs(scope.get("query_string", b"").decode("latin1"))
        target = _own_path(query.get("next", ["/"])[0])
        if scope["method"] == "GET":
            await respond(send, 200, _page(target, ""), "text/html; charset=utf-8")
            return
        if not self._is_token((await _form(receive)).get("token", "")):
            await respond(send, 401, _page(target, "This is not the token."), "text/html; charset=utf-8")
            return
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        cookie = f"{COOKIE}={self._cookie.decode()}; Path=/; HttpOnly; SameSite=Strict{secure}".encode()
        await respond(send, 303, b"", "text/plain", (b"location", target.encode()), (b"set-cookie", cookie))


async def _form(receive: Receive) -> dict[str, str]:
    """A small form that was sent; empty if it is larger than any login."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return {}
        body += message.get("body", b"")
        if len(body) > FORM_BYTES:
            return {}
        if not message.get("more_body", False):
            return {name: values[0] for name, values in parse_qs(body.decode("latin1")).items()}


def _own_path(target: str) -> str:
    """Where to go after the login: a path of this server, and never another one."""
    safe = target.startswith("/") and not target.startswith("//") and "\\" not in target
    return quote(target, safe="/%?&=#") if safe and target.isprintable() else "/"


def _page(target: str, fault: str) -> bytes:
    action = html.escape(f"/login?next={quote(target)}")
    return f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="color-scheme" content="dark light"><title>CASR-Net label server</title>
<body style="font-family: sans-serif; max-width: 24em; margin: 4em auto"><h1>CASR-Net label server</h1>
<p role="alert">{html.escape(fault)}</p><form method="post" action="{action}"><label>Token
<input type="password" name="token" autocomplete="current-password" autofocus required></label>
<button>Log in</button></form></body></html>""".encode()
