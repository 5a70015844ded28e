"""Instances of a DICOMweb server as inputs: listed by a search, and each fetched to a file when its turn comes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CASRError, DataError, UsageError, shown
from .addresses import instance_address, parse_search, place_of

if TYPE_CHECKING:
    from .dicomweb import DICOMwebArchive
    from .inputs import Inputs

__all__ = ["PASSWORD", "TOKEN", "USER", "find_instances", "open_archive", "received"]

TOKEN, USER, PASSWORD = "CASR_DICOMWEB_TOKEN", "CASR_DICOMWEB_USER", "CASR_DICOMWEB_PASSWORD"
"""Environment variables: a bearer token (RFC 6750), or user and password for HTTP basic authentication."""

LONGEST_TOKEN = 16384
"""Bytes of a file with a token. Our choice."""

OTHERS = "instances that are no images (SR, PR, KO and the like)"
MADE = "segmentations"
_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


def open_archive(service: str, token_file: str | Path | None = None) -> DICOMwebArchive:
    """The client of a service, with what it is to be shown: a token from a file or the environment, or user and
    password from the environment.

    Raises:
        UsageError: when the package of the extra ``pacs`` is missing, or the token cannot be used.
    """
    try:
        from .dicomweb import DICOMwebArchive
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{service}: {error.name} not installed; pip install 'casr-net[pacs]' brings what DICOMweb needs."
        ) from error
    token = _token(token_file)
    return DICOMwebArchive(service, os.environ.get(USER, ""), os.environ.get(PASSWORD, ""), token=token)


def _token(token_file: str | Path | None) -> str:
    if token_file is None:
        token, place = os.environ.get(TOKEN, "").strip(), TOKEN
    else:
        place = str(token_file)
        try:
            with open(token_file, "rb") as stream:
                token = stream.read(LONGEST_TOKEN + 1).decode("latin-1").strip()
        except OSError as error:
            raise UsageError(f"{token_file}: the token cannot be read: {error.strerror or error}.") from error
        if not token:
            raise UsageError(f"{token_file}: the file of the token is empty.")
    if len(token) > LONGEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            f"{place}: the token has {len(token)} characters; expected one line of ASCII without spaces, "
            f"{LONGEST_TOKEN} at most."
        )
    return token


def find_instances(address: str, inputs: Inputs, flat: bool = False, token_file: str | Path | None = None) -> None:
    """List the frames of the images that a search finds (QIDO-RS), without fetching them.

    They go to ``inputs``, with their address as path and their UIDs as name; so does what the server refuses.

    Args:
        address: see :func:`casr_net.files.addresses.parse_search`.
        flat: the name is the SOP Instance UID alone, else study, series and instance, as folders.
        token_file: see :func:`open_archive`.

    Raises:
        UsageError: for a wrong address, or a token that cannot be used.
    """
    before, passed, refused = len(inputs.items), inputs.passed, len(inputs.failures)
    known = {item["path"] for item in inputs.items}
    search = parse_search(address)
    archive = open_archive(search.service, token_file)
    try:
        for series in archive.find_series(search.series):
            for header in archive.find_headers(series, search.instances):
                inputs.looked_at += 1
                path = instance_address(search.service, series.study, series.series, str(header.SOPInstanceUID))
                if path in known:
                    continue
                known.add(path)
                kind = _passed_over(header)
                if kind:
                    inputs.pass_over(kind)
                    continue
                try:
                    frames = archive.count_frames(series, header)
                except CASRError as error:
                    inputs.failures[path] = error
                    continue
                name = str(header.SOPInstanceUID)
                name = name if flat else f"{series.study}/{series.series}/{name}"
                common = {"image": path, "path": path, "name": name, "frames": frames}
                inputs.items += [{**common, "frame": i} for i in range(frames)]
    except CASRError as error:
        inputs.failures[address] = error
        return
    if len(inputs.items) == before and len(inputs.failures) == refused:
        rest = f" (passed over: {inputs.passed - passed} instances)" if inputs.passed > passed else ""
        inputs.failures[address] = DataError(f"{address}: the server finds no images{rest}.")


def _passed_over(header: Any) -> str:
    """Why an instance is left alone, in words; empty for an image."""
    if header.get("SOPClassUID") == _SEGMENTATION:
        return MADE
    return "" if header.get("Rows") else OTHERS


@contextlib.contextmanager
def received(address: str, folder: Path, token_file: str | Path | None = None) -> Iterator[Path]:
    """An instance as a file, fetched now (WADO-RS), and deleted at the end.

    Args:
        address: of the instance.
        folder: for the file, which only this user may read.

    Raises:
        CASRError: when it cannot be fetched or written, or is another one.
    """
    from .dicomweb import Instance

    place = place_of(address)
    path = folder / f"{place.instance}.dcm"
    try:
        data = open_archive(place.service, token_file).download(Instance(*place[1:]), path)
        if str(data.get("SOPInstanceUID")) != place.instance:
            raise DataError(f"{address}: the server sent another instance, {shown(str(data.get('SOPInstanceUID')))}.")
        del data  # its pixels are on the disk
        yield path
    finally:
        path.unlink(missing_ok=True)
