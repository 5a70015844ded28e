"""The server: MONAI Label's own, on the loopback interface, with limits and clear errors.

``python -m casr_label --studies FOLDER`` from the folder of main.py, or ``make label STUDIES=FOLDER``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Options", "main", "make_server"]

APP = Path(__file__).resolve().parents[1]
MAX_UPLOAD_MB = 512
"""Of one request; a cine of 100 frames of 1024 x 1024 pixels of 16 bits has 200 MB. Our choice."""
END_SECONDS = 10
"""For requests that are being answered when the server is asked to stop; then it ends without them. Our choice."""
_EMPTY = "empty"
_PRIVATE = "casr-label-"
"""Begin of the name of the folder for temporary files, followed by the server's process number."""


@dataclass(frozen=True)
class Options:
    """What a server is started with.

    Attributes:
        studies: folder of images, or address of a DICOMweb server.
        host: interface.
        port: on it.
        state_dir: folder of weights and runs; "" for the default.
        max_upload_mb: limit of one request.
        token: that clients must send; "" for none.
        hosts: further names of this server, separated by commas.
        tta: with mirror images, or without; None: images of one frame with, cines without, as the bundle does it.
    """

    studies: str
    host: str = "127.0.0.1"
    port: int = 8000
    state_dir: str = ""
    max_upload_mb: int = MAX_UPLOAD_MB
    token: str = ""
    hosts: str = ""
    tta: bool | None = None


def make_server(options: Options) -> Any:
    """MONAI Label's FastAPI application for this app, with middleware and error handlers.

    Raises:
        UsageError: for a token or a host name that cannot be used.
    """
    from .access import OriginGuard, TokenGuard, allowed_hosts, checked_token

    token, hosts = checked_token(options.token, options.host), allowed_hosts(options.host, options.hosts)
    _say("loading MONAI Label and PyTorch; this takes ten seconds or more ...")
    _set_environment(options)
    from fastapi.middleware.cors import CORSMiddleware

    with contextlib.redirect_stdout(io.StringIO()):  # it would say that all origins are allowed
        from monailabel.app import app
    from monailabel.config import settings
    from monailabel.endpoints import proxy
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    import casr_label.shim  # noqa: F401

    from .guards import HearOut, PathGuard, UploadLimit
    from .ohif import add_ohif
    from .page import add_page
    from .proxy import add_proxy
    from .starting import check_trainings
    from .threads import answer_in_threads

    proxy.router.routes.clear()
    answer_in_threads()
    check_trainings()
    user, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
    prefixes = {
        "qido": settings.MONAI_LABEL_QIDO_PREFIX or "", "wado": settings.MONAI_LABEL_WADO_PREFIX or "",
        "stow": settings.MONAI_LABEL_STOW_PREFIX or "",
    }  # fmt: skip
    archive = options.studies.rstrip("/") if _is_address(options.studies) else ""
    add_proxy(app, archive, (user, password) if user else None, prefixes)
    add_page(app)
    add_ohif(app, bool(archive))
    _add_errors(app, _places(options))

    # MONAI Label lets the pages of all sites in, with their users' cookies.
    app.user_middleware = [one for one in app.user_middleware if one.cls is not CORSMiddleware]
    origins = [str(origin).rstrip("/") for origin in settings.MONAI_LABEL_CORS_ORIGINS]
    app.add_middleware(PathGuard)
    app.add_middleware(UploadLimit, limit=options.max_upload_mb * 2**20)
    if token:
        app.add_middleware(TokenGuard, token=token)
    if origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"]
        )  # fmt: skip
    app.add_middleware(OriginGuard, origins=origins)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    app.add_middleware(HearOut)  # the last that is added is the first that is asked
    return app


def _set_environment(options: Options) -> None:
    """What MONAI Label, and the processes that it starts, read from the environment."""
    conf = {"tta": "auto" if options.tta is None else str(options.tta).lower()}
    os.environ.update(
        {
            "MONAI_LABEL_APP_DIR": str(APP), "MONAI_LABEL_STUDIES": options.studies,
            "MONAI_LABEL_APP_CONF": json.dumps(conf | ({"state_dir": options.state_dir} if options.state_dir else {})),
            "MONAI_LABEL_SERVER_PORT": str(options.port), "MONAI_LABEL_TRACKING_ENABLED": "false",
        }
    )  # fmt: skip
    os.environ.setdefault("MONAI_LABEL_DICOMWEB_SEARCH_FILTER", json.dumps({"Modality": "XA"}))
    # Scores are made when they are asked for: each time would start a process after every question for a next image.
    os.environ.setdefault("MONAI_LABEL_AUTO_UPDATE_SCORING", "false")
    os.environ.setdefault("MONAI_LABEL_SESSION_PATH", str(Path(tempfile.gettempdir()) / "sessions"))
    paths = [str(APP), str(APP.parent), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # of the processes for training, scoring and batches


def _places(options: Options) -> list[str]:
    """Folders of this server, which clients need not know."""
    from .app import default_state

    studies = [] if _is_address(options.studies) else [options.studies]
    return [tempfile.gettempdir(), options.state_dir or str(default_state(options.studies)), *studies]


def _add_errors(app: Any, places: list[str]) -> None:
    """What each error is answered with: the reason, as one line; files are named from within ``places``."""
    from fastapi import Request
    from fastapi.responses import JSONResponse
    from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException, MONAILabelException
    from pydantic import ValidationError
    from starlette.exceptions import HTTPException

    from casr_net.errors import CASRError, WeightsError
    from casr_net.files.dicomweb import PACSError

    from .drafts import ConflictError
    from .requests import BusyError, NotFoundError

    def answer(status: int) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
        async def handler(_request: Request, error: Exception) -> JSONResponse:
            text = " ".join(str(getattr(error, "msg", error)).split())
            for place in places:
                text = text.replace(f"{place}{os.sep}", "")
            return JSONResponse({"detail": text}, status_code=status)

        return handler

    async def of_monai_label(_request: Request, error: HTTPException) -> JSONResponse:
        # With 500 it answers requests that lack something, or ask for what only its other datastores can do.
        status = 400 if error.status_code == 500 else error.status_code
        detail = error.detail.strip("+ ") if isinstance(error.detail, str) else error.detail
        return JSONResponse({"detail": detail}, status_code=status, headers=error.headers)

    for kind, status in (
        (CASRError, 400), (BusyError, 429), (NotFoundError, 404), (ConflictError, 409),
        (WeightsError, 503), (PACSError, 502), (json.JSONDecodeError, 400),
        (MONAILabelException, 400), (ImageNotFoundException, 404), (LabelNotFoundException, 404),
        (ValidationError, 400),
    ):  # fmt: skip
        app.add_exception_handler(kind, answer(status))
    app.add_exception_handler(HTTPException, of_monai_label)


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted; returns the exit code."""
    parser = argparse.ArgumentParser(prog="casr_label", description=__doc__)
    parser.add_argument("--studies", required=True, help="folder of images, or address of a DICOMweb server")
    parser.add_argument("--host", default="127.0.0.1", help="interface (default: this computer only)")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--state", default="", help="folder of weights and runs (default: .casr in the studies folder)")
    parser.add_argument("--max-upload-mb", type=int, default=MAX_UPLOAD_MB, help="limit of one request")
    parser.add_argument(
        "--tta", action=argparse.BooleanOptionalAction,
        help="with or without mirror images (default: images of one frame with, cines without)",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    for folder in (str(APP), str(APP.parent)):  # this package, and casr_net in the bundle
        if folder not in sys.path:
            sys.path.insert(0, folder)
    studies = given.studies
    if not _is_address(studies):
        if not Path(studies).is_dir():
            _say(f"{studies}: no such folder.")
            return 2
        studies = str(Path(studies).resolve())
    if not 1 <= given.port <= 65535 or given.max_upload_mb < 1:
        _say(f"port {given.port}: expected 1 to 65535; limit in MB: 1 or more.")
        return 2
    options = Options(
        studies, given.host, given.port, str(Path(given.state).resolve()) if given.state else "", given.max_upload_mb,
        os.environ.get("CASR_LABEL_TOKEN", ""), os.environ.get("CASR_LABEL_HOSTS", ""), given.tta,
    )  # fmt: skip
    from casr_net.errors import UsageError

    from .children import end_children, mark_server

    signal.signal(signal.SIGTERM, _terminate)
    mark_server()
    private = _private_folder()
    try:
        server = make_server(options)
        # MONAI Label looks whether a label's name is that of a file, and removes it then: here, nothing is.
        (private / _EMPTY).mkdir()
        os.chdir(private / _EMPTY)
        _serve(server, options)
    except UsageError as error:
        _say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        _end_soon()
        if "monailabel" in sys.modules:
            end_children()
        os.chdir("/")
        shutil.rmtree(private, ignore_errors=True)
    return 0


def _serve(app: Any, options: Options) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, *args: Any, **named: Any) -> None:
            _say(f"opening {options.studies} ...")
            await super().startup(*args, **named)
            if self.started:
                host = "127.0.0.1" if options.host in ("0.0.0.0", "::") else options.host
                host = f"[{host}]" if ":" in host else host
                _say(f"ready: open http://{host}:{options.port}/ in a browser; Ctrl-C ends it")

    with contextlib.suppress(KeyboardInterrupt):
        config = uvicorn.Config(
            app, host=options.host, port=options.port, log_level="info", server_header=False,
            timeout_graceful_shutdown=END_SECONDS,
        )  # fmt: skip
        Server(config).run()


def _terminate(*_: Any) -> None:
    # As a normal end: uvicorn gives a signal on when it has stopped, and by itself it would end this process before
    # anything is put in order.
    sys.exit(128 + signal.SIGTERM)


def _end_soon() -> None:
    """End this process even if a thread of it, such as a training with ``run_sync``, works on."""
    timer = threading.Timer(END_SECONDS, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _say(text: str) -> None:
    print(f"casr_label: {text}", file=sys.stderr, flush=True)


def _private_folder() -> Path:
    """A folder for all temporary files of this server, which nobody else can enter; what killed servers have left is
    removed."""
    import psutil

    for left in Path(tempfile.gettempdir()).glob(f"{_PRIVATE}*-*"):
        number = left.name.removeprefix(_PRIVATE).partition("-")[0]
        if number.isdigit() and not psutil.pid_exists(int(number)):
            shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f"{_PRIVATE}{os.getpid()}-"))
    tempfile.tempdir = str(made)
    return made


def _is_address(studies: str) -> bool:
    return studies.startswith(("http://", "https://"))
