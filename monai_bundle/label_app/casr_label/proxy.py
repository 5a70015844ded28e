"""The way of OHIF to the PACS: DICOMweb requests that come through this server, with its password.

MONAI Label's own proxy passes on whatever path it gets, and headers meant for this server.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from typing import Any

import requests
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from casr_net.files.dicomweb import TIMEOUT

from .asgi import decoded

__all__ = ["add_proxy", "is_dicomweb", "is_store"]

_UID = r"[0-9.]{1,64}"
_PICTURE = r"rendered|thumbnail"
_STUDY = rf"studies/{_UID}"
_SERIES = rf"{_STUDY}/series/{_UID}"
_INSTANCE = rf"{_SERIES}/instances/{_UID}"
_TAG = r"[0-9A-Fa-f]{8}"
# Resources of PS3.18 10.4 (retrieve) and 10.6 (search); "bulk" is Orthanc's name of bulk data.
_RESOURCES = re.compile(
    rf"studies|series|instances"
    rf"|{_STUDY}(/(series|instances|metadata|{_PICTURE}))?"
    rf"|{_SERIES}(/(instances|metadata|{_PICTURE}))?"
    rf"|{_INSTANCE}(/(metadata|pixeldata|{_PICTURE}))?"
    rf"|{_INSTANCE}/frames/\d{{1,6}}(,\d{{1,6}}){{0,999}}(/({_PICTURE}))?"
    rf"|({_INSTANCE}|{_SERIES}|{_STUDY})/(bulkdata|bulk)(/{_TAG}(/\d{{1,6}}/{_TAG}){{0,9}})?"
)
_STORE = re.compile(rf"studies(/{_UID})?")  # PS3.18 10.5
_PASSED_ON = ("accept", "accept-encoding", "content-type")
_PASSED_BACK = ("content-type", "content-encoding", "etag", "warning")


def is_dicomweb(path: str) -> bool:
    """Whether a path below the address of a DICOMweb server is a resource that can be searched for or retrieved."""
    return _RESOURCES.fullmatch(path) is not None and ".." not in path


def is_store(path: str) -> bool:
    """Whether instances may be stored under a path (STOW-RS)."""
    return _STORE.fullmatch(path) is not None and ".." not in path


def add_proxy(app: FastAPI, url: str, auth: tuple[str, str] | None, prefixes: dict[str, str]) -> None:
    """Serve ``/proxy/dicom/...``: GET of DICOMweb's resources, and POST of instances; all else is refused.

    Args:
        app: where to.
        url: of the DICOMweb server; empty when images come from a folder, so that there is nothing behind the proxy.
        auth: user and password for it.
        prefixes: of the addresses of its services "qido", "wado" and "stow".
    """

    def address(request: Request, service: str, path: str) -> str:
        plain = decoded(path)
        allowed = is_dicomweb if request.method == "GET" else is_store
        if not url:
            raise HTTPException(404, "images come from a folder; there is no PACS.")
        if plain is None or not allowed(plain):
            raise HTTPException(404, f"not a DICOMweb resource that can be asked for with {request.method}.")
        if plain.endswith("metadata"):  # OHIF asks the search service for it
            service = "wado"
        return "/".join(filter(None, (url, prefixes.get(service, "").strip("/"), plain)))

    def ask(request: Request, target: str, body: Any = None) -> Response:
        try:
            answer = requests.request(
                request.method, target, params=request.query_params.multi_items(), data=body, auth=auth, stream=True,
                headers={
                    "accept-encoding": "identity",  # unless the client can do more; the library would ask for gzip
                    **{name: request.headers[name] for name in _PASSED_ON if name in request.headers},
                },
                timeout=TIMEOUT, allow_redirects=False,
            )  # fmt: skip
        except requests.RequestException as error:
            raise HTTPException(502, f"{url}: no usable answer ({type(error).__name__}).") from error
        if 300 <= answer.status_code < 400:
            answer.close()
            raise HTTPException(502, f"{url}: leads to another address, which is not followed.")
        headers = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
        return StreamingResponse(_pieces(answer), answer.status_code, headers)

    def add(service: str) -> None:
        def retrieve(request: Request, path: str) -> Response:  # a function: FastAPI runs it in a thread
            return ask(request, address(request, service, path))

        async def store(request: Request, path: str) -> Response:
            target = address(request, service, path)
            with tempfile.TemporaryFile() as body:  # as large as an upload may be
                async for part in request.stream():
                    body.write(part)
                body.seek(0)
                return await run_in_threadpool(ask, request, target, body)

        place = f"/proxy/dicom/{service}/{{path:path}}" if service else "/proxy/dicom/{path:path}"
        app.add_api_route(place, retrieve, methods=["GET"], include_in_schema=False)
        app.add_api_route(place, store, methods=["POST"], include_in_schema=False)

    for service in ("qido", "wado", "stow", ""):
        add(service)


def _pieces(answer: requests.Response) -> Iterator[bytes]:
    """The body as it came, compressed or not."""
    with answer:
        yield from answer.raw.stream(2**16, decode_content=False)
