"""A DICOMweb server that writes down what it is asked, and can be told to let the asker wait."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pydicom

__all__ = ["Asked", "FakePACS"]


@dataclass(frozen=True)
class Asked:
    """One request: method, path with query as it came, headers with lower-case names, body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class FakePACS:
    """Holds the given files, and what is stored in it.

    Attributes:
        asked: all requests so far.
        holding: a test sets it to a function of a request; while it gives True, the request is not answered.
        saying: a test sets it to status, media type and body of all further answers.
    """

    def __init__(self, files: list[Path]) -> None:
        self.files = {str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID): file for file in files}
        self.headers = {uid: pydicom.dcmread(file, stop_before_pixels=True) for uid, file in self.files.items()}
        self.asked: list[Asked] = []
        self.holding: Callable[[Asked], bool] = lambda _asked: False
        self.saying: tuple[int, str, bytes] | None = None
        pacs = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version: ClassVar[str] = "HTTP/1.1"

            def do_GET(self) -> None:
                pacs.answer(self)

            do_POST = do_DELETE = do_PUT = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/dicom-web"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.holding = lambda _asked: False
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, wanted: Callable[[Asked], bool], seconds: float = 20) -> Asked:
        """The first request of a kind, as soon as it has come."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for one in list(self.asked):
                if wanted(one):
                    return one
            time.sleep(0.02)
        raise AssertionError(f"has not been asked that: {[one.path for one in self.asked]}")

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        while handler.headers.get("Transfer-Encoding") == "chunked":
            size = int(handler.rfile.readline().strip() or b"0", 16)
            body += handler.rfile.read(size)
            handler.rfile.readline()
            if not size:
                break
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(handler.command, handler.path, headers, body)
        self.asked.append(asked)
        while self.holding(asked):
            time.sleep(0.02)
        status, kind, content = self.saying or (200, *self._content(asked))
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _content(self, asked: Asked) -> tuple[str, bytes]:
        path, _, query = asked.path.removeprefix("/dicom-web").partition("?")
        if asked.method == "GET" and path == "/series":
            found = [] if "SEG" in query else [_attributes(header) for header in self.headers.values()]
            return "application/dicom+json", json.dumps(found).encode()
        one = re.fullmatch(r"/studies/([0-9.]+)/series/([0-9.]+)/instances(?:/([0-9.]+))?", path)
        if asked.method == "GET" and one and one[3] in self.files:
            part = b"--edge\r\nContent-Type: application/dicom\r\n\r\n" + self.files[one[3]].read_bytes()
            return 'multipart/related; type="application/dicom"; boundary=edge', part + b"\r\n--edge--\r\n"
        if asked.method == "GET" and one and not one[3]:
            found = [_attributes(header) for header in self.headers.values() if header.SeriesInstanceUID == one[2]]
            return "application/dicom+json", json.dumps(found).encode()
        return "application/dicom+json", b"{}"


def _attributes(header: pydicom.Dataset) -> dict[str, Any]:
    chosen = pydicom.Dataset()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality"):
        chosen[keyword] = header[keyword]
    for keyword in ("Rows", "Columns", "NumberOfFrames"):
        if keyword in header:
            chosen[keyword] = header[keyword]
    chosen.NumberOfSeriesRelatedInstances = 1
    return dict(chosen.to_json_dict())
