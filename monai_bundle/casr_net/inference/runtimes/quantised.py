"""Networks in 8 bits, made by ``experiments/quantise.py`` of certain weights, and kept beside them.

A file is one ZIP archive: ``about.json``, and OpenVINO's ``model.xml`` and ``model.bin``. It belongs to a network by
the digest of its weights: other weights have none, since calibrating takes images.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...files.atomic import write_atomically
from ..bundle import bundle_root

__all__ = [
    "ENDING", "Quantised", "find_quantised", "quantised_content", "quantised_files", "read_quantised",
    "write_quantised",
]  # fmt: skip

ENDING = "_int8.zip"
"""End of the names of these files, after the stem of the weights' name."""

FORM = 1
"""Number of the form of the archives."""


@dataclass(frozen=True)
class Quantised:
    """A network in 8 bits.

    Attributes:
        about: "network", the digest of what it was made from, and how it was made.
        model, weights: content of OpenVINO's ``.xml`` and ``.bin``.
    """

    about: dict[str, Any]
    model: bytes
    weights: bytes

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of model and weights."""
        return hashlib.sha256(self.model + self.weights).hexdigest()

    @property
    def described(self) -> dict[str, Any]:
        """Which one it is: of which network, and its digest."""
        return {"network": self.about.get("network"), "digest": self.digest}


def quantised_content(quantised: Quantised) -> bytes:
    """The bytes of the file; equal content gives equal bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        about = json.dumps({"form": FORM, **quantised.about}, indent=1).encode()
        for name, part in (("about.json", about), ("model.xml", quantised.model), ("model.bin", quantised.weights)):
            archive.writestr(zipfile.ZipInfo(name), part, zipfile.ZIP_DEFLATED, 9)
    return content.getvalue()


def write_quantised(path: Path, quantised: Quantised) -> None:
    """Write the file.

    Raises:
        DataError: when it cannot be written.
    """
    content = quantised_content(quantised)
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def read_quantised(path: Path) -> Quantised:
    """Read a file whole; the archive's checksums are compared.

    Raises:
        DataError: when it is missing, damaged, or of another form.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            about = json.loads(archive.read("about.json"))
            if about["form"] == FORM:
                return Quantised(about, archive.read("model.xml"), archive.read("model.bin"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or type(error).__name__}).") from error
    except Exception as error:  # zipfile raises a dozen classes on damaged archives
        raise DataError(f"{path}: the network in 8 bits is damaged; bring it again, or delete it.") from error
    raise DataError(f"{path}: a network in 8 bits of form {about['form']!r}; this version reads {FORM}.")


def quantised_files(weights: str | Path | None) -> list[Path]:
    """The files that may be of a file of weights, in the order in which they are looked at."""
    folders = [Path(weights).resolve().parent] if weights is not None else []
    folders = list(dict.fromkeys([*folders, bundle_root() / "models"]))
    return [path for folder in folders for path in sorted(folder.glob(f"*{ENDING}"))]


def find_quantised(network: str, weights: str | Path | None) -> Quantised | None:
    """The network in 8 bits of these weights: beside them, or in the bundle.

    Args:
        network: digest of the network.
        weights: its file.

    Returns:
        None when there is none.

    Raises:
        DataError: when there is none, and one of the files that might have been it cannot be read.
    """
    problem: DataError | None = None
    for path in quantised_files(weights):
        try:
            found = read_quantised(path)
        except DataError as error:
            problem = error
            continue
        if found.about.get("network") == network:
            return found
    if problem is not None:
        raise problem
    return None
