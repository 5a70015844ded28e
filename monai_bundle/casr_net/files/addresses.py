"""Addresses of DICOMweb servers (DICOM PS3.18) as inputs: a search of a service, and an instance that it found."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from ..errors import UsageError, shown

__all__ = ["Place", "Search", "check_scheme", "instance_address", "is_address", "parse_search", "place_of"]

_SCHEMES = ("http://", "https://")
_OTHER = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_UID = r"[0-9.]{1,64}"
_PLACE = re.compile(rf"(?P<service>.+?)/studies/({_UID})/series/({_UID})/instances/({_UID})")
_BELOW = re.compile(rf"(?P<service>.*?)(?:/studies/({_UID}))?(?:/series/({_UID}))?(?:/instances/({_UID}))?/?")
_LEVELS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_KEY = re.compile(r"[0-9A-Fa-f]{8}|[A-Z][A-Za-z0-9]+")
"""Attributes by tag or keyword, as PS3.18 8.3.4 has them."""
INSTANCE_KEYS = frozenset({"SOPInstanceUID", "SOPClassUID", "InstanceNumber", "00080018", "00080016", "00200013"})
"""Attributes of a search that belong to instances; all others are those of studies and series (PS3.18, 10.6)."""


@dataclass(frozen=True)
class Search:
    """What an address asks for.

    Attributes:
        service: address of the server's service.
        series, instances: attributes of series (and their studies), and of instances, to what they are to match.
    """

    service: str
    series: dict[str, str] = field(default_factory=dict)
    instances: dict[str, str] = field(default_factory=dict)


class Place(NamedTuple):
    """Where an instance is: the service, and the UIDs of study, series and instance."""

    service: str
    study: str
    series: str
    instance: str


def is_address(text: str | Path) -> bool:
    """Whether an input is an address rather than a path."""
    return isinstance(text, str) and text.lower().startswith(_SCHEMES)


def check_scheme(text: str | Path) -> None:
    """Refuse addresses of other kinds, which nobody means as a path.

    Raises:
        UsageError: naming it.
    """
    if isinstance(text, str) and _OTHER.match(text) and not is_address(text):
        raise UsageError(f"{shown(text)}: no address of a DICOMweb server; expected http:// or https://.")


def parse_search(address: str) -> Search:
    """The search that a user gives: ``https://host/dicom-web?PatientID=7&Modality=XA``, or with
    ``/studies/<UID>/series/<UID>`` behind the service.

    Raises:
        UsageError: for an address with a password in it, attributes that cannot be searched by, or without any.
    """
    try:
        parts = urlsplit(address)
        host, secret = parts.hostname, parts.username is not None or parts.password is not None
        parts.port  # noqa: B018  # raises for one that is no number
    except ValueError as error:
        raise UsageError(f"{shown(address)}: not an address: {error}.") from error
    if secret:
        # The password is not repeated.
        raise UsageError(
            f"the address of {host}: user and password do not belong there, where others see them; set "
            "CASR_DICOMWEB_USER and CASR_DICOMWEB_PASSWORD."
        )
    if not host:
        raise UsageError(f"{shown(address)}: not an address: it names no server.")
    below = _BELOW.fullmatch(parts.path)
    assert below is not None  # all of it is optional
    service = f"{parts.scheme}://{parts.netloc}{below['service'].rstrip('/')}"
    found = {key: uid for key, uid in zip(_LEVELS, below.groups()[1:], strict=True) if uid}
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if not _KEY.fullmatch(key):
            raise UsageError(
                f"{service}: {shown(key)} is no attribute to search by; expected a DICOM keyword such as PatientID."
            )
        if not value or key in found:
            wrong = "stands twice" if key in found else "has no value"
            raise UsageError(f"{service}: {key} {wrong} in the address.")
        found[key] = value
    if not found:
        raise UsageError(
            f"{service}: the address names the whole archive; add what to search for, such as ?Modality=XA or "
            "?PatientID=...&Modality=XA."
        )
    return Search(
        service,
        {key: value for key, value in found.items() if key not in INSTANCE_KEYS},
        {key: value for key, value in found.items() if key in INSTANCE_KEYS},
    )


def instance_address(service: str, study: str, series: str, instance: str) -> str:
    """Where an instance is fetched from (WADO-RS); has no secrets in it."""
    return f"{service}/studies/{study}/series/{series}/instances/{instance}"


def place_of(address: str) -> Place:
    """The parts of what :func:`instance_address` gave.

    Raises:
        UsageError: when it is not of that form.
    """
    found = _PLACE.fullmatch(address)
    if found is None:
        raise UsageError(f"{shown(address)}: not the address of an instance.")
    return Place(*found.groups())
