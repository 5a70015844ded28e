"""The page at ``/`` and what it asks for, below ``/page/``. Frames count from 0 here; on the page, from 1."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, FastAPI, File, Form, Header, Query, Request, UploadFile
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from casr_net.errors import DataError, UsageError

from . import pictures
from .bench import the_bench
from .exports import router as exports
from .requests import NotFoundError, checked_request
from .workbench import Place

__all__ = ["POLICY", "add_page"]

DIST = Path(__file__).resolve().parents[1] / "web" / "dist"
POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'; object-src 'none'"
"""Nothing comes from elsewhere, and no script but that of the files (Content Security Policy Level 3)."""

API_POLICY = f"{POLICY}; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
"""Of the list of requests: Swagger UI sets styles, and has small pictures in them."""

router = APIRouter(prefix="/page", tags=["Page"])

Image = Annotated[str | None, Query(description="name of an image of the datastore")]
Trial = Annotated[str | None, Query(description="or id of a file that is only tried")]
Frame = Annotated[int, Query(ge=0, le=100_000, description="from 0")]
Known = Annotated[str | None, Header(alias="If-None-Match")]


class Acceptance(BaseModel):
    """Drafts that become final: revision by frame, and the label that the client knows of."""

    drafts: dict[int, int]
    final: str | None = ""


def add_page(app: FastAPI) -> None:
    """Serve the page at ``/``, where MONAI Label has its list of requests; that one goes to ``/api``, and is served
    without anything from the internet."""
    theirs = ("/", "/docs")
    app.router.routes[:] = [one for one in app.router.routes if not (isinstance(one, Route) and one.path in theirs)]
    app.include_router(router)
    app.include_router(exports)
    app.mount("/assets", _Assets(directory=DIST, check_dir=False))
    app.add_api_route("/", lambda: _html("index.html", POLICY), include_in_schema=False)
    for path in ("/api", "/docs"):
        app.add_api_route(path, lambda: _html("swagger/index.html", API_POLICY), include_in_schema=False)


def _html(name: str, policy: str) -> Response:
    if not (DIST / name).is_file():
        raise NotFoundError(f"the page is not there: {DIST.name} was not built.")
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-cache", "Referrer-Policy": "no-referrer"}
    return FileResponse(DIST / name, media_type="text/html; charset=utf-8", headers=headers)


class _Assets(StaticFiles):
    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "no-cache"
        return response


def _png(content: bytes, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(content, media_type="image/png", headers={"Cache-Control": "no-store", **named})


def _revalidated(place: Place, part: str, known: str | None, make: Any, kind: str = "image/png") -> Response:
    """An answer that the browser keeps, and asks for again only whether the file has changed."""
    with place.errors():
        try:
            status = place.path.stat()
        except OSError as error:
            raise NotFoundError(f"image {place.name!r}: its file is not there any more.") from error
        tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}-{part}"'
        headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
        if known == tag:
            return Response(status_code=304, headers=headers)
        return Response(make(), media_type=kind, headers=headers)


@router.get("/images")
def list_images() -> dict[str, Any]:
    """All images with their states; ``studies`` tells folders and archives apart."""
    bench = the_bench()
    return {"studies": hashlib.sha256(bench.app.studies.encode()).hexdigest()[:16], "images": bench.listed()}


@router.get("/viewer")
def viewer(request: Request) -> dict[str, Any]:
    """Whether OHIF can be opened, and which of its files are not the known ones, and so were left as they are."""
    ohif = request.app.state.ohif
    return {"ohif": ohif is not None and ohif.is_there, "unchanged": [] if ohif is None else ohif.unchanged}


@router.get("/image")
def describe(image: Image = None, trial: Trial = None) -> dict[str, Any]:
    """Size, frames, drafts, proposals and label of one image."""
    bench = the_bench()
    return bench.described(bench.place(image, trial))


@router.get("/thumbnail")
def thumbnail(image: Image = None, known: Known = None) -> Response:
    """Small PNG of the middle frame."""
    bench = the_bench()
    place = bench.place(image, None)
    return _revalidated(place, "t", known, lambda: pictures.thumbnail(bench.open(place.path)))


@router.get("/frame")
def frame(frame: Frame, image: Image = None, trial: Trial = None, known: Known = None) -> Response:
    """PNG of one frame as it is shown everywhere."""
    bench = the_bench()
    place = bench.place(image, trial)
    return _revalidated(place, f"f{frame}", known, lambda: pictures.grey_png(bench.open(place.path), frame))


@router.get("/values")
def values(frame: Frame, image: Image = None, trial: Trial = None, known: Known = None) -> Response:
    """Values of one frame beyond the shown window: uint16, little endian."""
    bench = the_bench()
    place = bench.place(image, trial)
    kind = "application/octet-stream"
    return _revalidated(place, f"v{frame}", known, lambda: pictures.values(bench.open(place.path), frame), kind)


@router.post("/infer")
def infer(frame: Frame, image: Image = None, trial: Trial = None) -> dict[str, Any]:
    """Segment one frame, unless that was done."""
    bench = the_bench()
    place = bench.place(image, trial)
    with place.errors():
        levels, known = bench.proposals.make(place.folder, bench.open(place.path), frame)
        return {
            "frame": frame,
            "uncertainty": bench.proposals.score(levels, bench.open(place.path), bench.app.state.calibrations),
            "known": known,
        }


@router.get("/probability")
def probability(frame: Frame, image: Image = None, trial: Trial = None) -> Response:
    """PNG of a frame that was segmented: k means a probability of k / 256 up to the next step."""
    bench = the_bench()
    place = bench.place(image, trial)
    levels = bench.proposals.of(place.folder, bench.open(place.path), frame)
    return _png(pictures.level_png((levels >> 8).astype(np.uint8)))


@router.get("/proposal")
def proposal(
    frame: Frame, image: Image = None, trial: Trial = None, threshold: float = 0.5, refine: bool = True
) -> Response:
    """PNG of the mask of a frame that was segmented."""
    options = checked_request({"threshold": threshold, "refine": refine})
    bench = the_bench()
    place = bench.place(image, trial)
    levels = bench.proposals.of(place.folder, bench.open(place.path), frame)
    return _png(pictures.mask_png(bench.proposals.mask(levels, options["threshold"], options["refine"])))


@router.get("/curve")
def curve(image: Image = None, trial: Trial = None) -> dict[str, Any]:
    """Contrast over the frames of a cine that were segmented; ``curve`` of its description says whether they are."""
    bench = the_bench()
    return bench.curve(bench.place(image, trial))


@router.get("/final")
def final(frame: Frame, image: Image = None) -> Response:
    """PNG of the final label of a frame."""
    bench = the_bench()
    place = bench.place(image, None)
    with place.errors():
        label = bench.final(place, bench.open(place.path))
    if label is None or frame not in label.frames:
        raise NotFoundError(f"frame {frame + 1} of {place.name!r} has no final label.")
    return _png(pictures.mask_png(label.masks[..., frame]))


@router.get("/draft")
def draft(frame: Frame, image: Image = None) -> Response:
    """PNG of a draft; its revision and settings stand in the headers."""
    bench = the_bench()
    place = bench.place(image, None)
    found = bench.drafts.of(place.name).get(frame)
    if found is None:
        raise NotFoundError(f"frame {frame + 1} of {place.name!r} has no draft.")
    mask, settings = found.read()
    with place.errors():
        size = bench.open(place.path).size
    if mask.shape != size:
        raise DataError(
            f"the draft of frame {frame + 1} of {place.name!r} has {mask.shape[0]} x {mask.shape[1]} pixels, the image "
            f"{size[0]} x {size[1]}: it is of another image."
        )
    settings = {key: settings[key] for key in ("threshold", "refine") if key in settings}
    headers = {"X_CASR_Revision": str(found.revision), "X_CASR_Settings": json.dumps(settings)}
    return _png(pictures.mask_png(mask), **headers)


@router.put("/draft")
def put_draft(
    frame: Frame,
    mask: Annotated[UploadFile, File()],
    image: Image = None,
    seen: Annotated[int, Query(ge=0, description="revision that it was made from, 0 for none")] = 0,
    threshold: Annotated[float, Form()] = 0.5,
    refine: Annotated[bool, Form()] = True,
    writer: Annotated[str, Form(max_length=64, description="of a window; it may try again what got no answer")] = "",
    turn: Annotated[int, Form(ge=0, description="of the writer; grows with each change")] = 0,
) -> dict[str, Any]:
    """Keep a mask of one frame as draft; 409 if there is a later one."""
    options = checked_request({"threshold": threshold, "refine": refine})
    bench = the_bench()
    place = bench.place(image, None)
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(mask.file.read())
        file.flush()
        with place.errors():
            source = bench.open(place.path)
        found = bench.received(source, frame, Path(file.name))
    settings = {"threshold": options["threshold"], "refine": options["refine"]}
    return {"revision": bench.drafts.write(place.name, frame, found, seen, settings, (writer, turn))}


@router.delete("/draft")
def delete_draft(frame: Frame, image: Image = None, seen: Annotated[int, Query(ge=0)] = 0) -> dict[str, Any]:
    """Discard a draft; 409 if there is a later one."""
    bench = the_bench()
    place = bench.place(image, None)
    bench.drafts.remove(place.name, frame, seen)
    return {}


@router.post("/accept")
def accept(wanted: Acceptance, image: Image = None) -> dict[str, Any]:
    """Make drafts the final label; 409 if somebody else was faster."""
    bench = the_bench()
    return bench.accept(bench.place(image, None), wanted.drafts, wanted.final or "")


@router.get("/training")
def training() -> dict[str, Any]:
    """The last training since the server was started, or null; versions of the weights, and which is used."""
    from monailabel.utils.async_tasks.task import AsyncTask

    task, _ = AsyncTask.status("train")
    return {"task": task, **the_bench().app.trainer.stats()}


@router.put("/trial")
def put_trial(file: Annotated[UploadFile, File()]) -> dict[str, Any]:
    """Keep a file for a while to try it; it does not go to the images."""
    name = file.filename or "image"
    if not re.fullmatch(r"[^\x00-\x1f]{1,200}", name):
        raise UsageError("file: expected a name of at most 200 characters.")
    return {"trial": the_bench().trials.add(name, file.file)}


@router.delete("/trial")
def delete_trial(trial: str) -> dict[str, Any]:
    """Forget a file that was tried."""
    the_bench().trials.remove(trial)
    return {}
