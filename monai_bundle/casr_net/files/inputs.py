"""What a run is to segment: files and folders given by the user, looked at one by one before the network is loaded."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import CASRError, DataError, UsageError, shown
from .addresses import check_scheme, is_address
from .images import read_angiogram
from .kinds import is_image
from .lists import check_given, is_list, name_in_list, read_list
from .names import DICOM, RASTER, VOLUME, is_result, plain_stem, suffix

__all__ = ["Inputs", "find_inputs", "no_image"]

RESULTS = "results of earlier runs (named _mask, _probability or _overlay; named one by one they are read)"
OBJECTS = "DICOM objects that are no images (DICOMDIR, SR, PR, ECG and the like)"
LINKS = "linked folders that were walked already"


@dataclass
class Inputs:
    """Frames to segment, and files that cannot be.

    Attributes:
        items: a dictionary a frame: image and path (both the file; a transform replaces the first), name (relative
            output name without ending), frame (index from 0) and frames (count in the file). A file's are consecutive.
            The path of an instance of a DICOMweb server is its address.
        failures: path to error, for files that were refused.
        passed_over: what was found in folders and left alone: kind, in words, to number.
        given: the paths and addresses as the user gave them.
        looked_at: number of files that were opened, whatever came of it.
        window: centre and width of the VOI window that the user wants; None leaves the choice to each file.
    """

    items: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[str, CASRError] = field(default_factory=dict)
    passed_over: dict[str, int] = field(default_factory=dict)
    given: list[str] = field(default_factory=list)
    looked_at: int = 0
    window: tuple[float, float] | None = None

    @property
    def paths(self) -> list[str]:
        """The files that can be read, each once, in order."""
        return list(dict.fromkeys(item["path"] for item in self.items))

    @property
    def passed(self) -> int:
        """How much was passed over in all."""
        return sum(self.passed_over.values())

    def pass_over(self, kind: str) -> None:
        """Count something that is left alone."""
        self.passed_over[kind] = self.passed_over.get(kind, 0) + 1


@dataclass(frozen=True)
class _Found:
    path: Path
    name: str
    folder: Path | None  # that the user gave; None for a file that the user named


def find_inputs(
    paths: str | Path | Sequence[str | Path],
    window: Sequence[float] | None = None,
    flat: bool = False,
    token_file: str | Path | None = None,
) -> Inputs:
    """List every frame of every readable file, by the headers alone; a folder is walked, with the folders below it.

    Of a folder, files that are no images are passed over: silently where their ending or the lack of DICOM's marker
    says so; results of this package, and DICOM objects that are no images, are counted. A file that the user names is
    always looked at. Links are followed, and each folder is walked once. Whatever is wrong with one path goes to
    ``failures``, and the others are still listed.

    An address of a DICOMweb server (``https://host/dicom-web?Modality=XA``) stands for the instances that the server
    finds; they are listed without fetching them, under their own addresses. A text file (``.txt``) is a list of inputs.

    Args:
        paths: files, folders, addresses and lists.
        window: centre and width of the VOI window to use in place of the files' own.
        flat: leave the sub-folders out of the names; else they are kept.
        token_file: holds what DICOMweb servers are to be shown.

    Raises:
        UsageError: for an address that cannot be a search, or where DICOMweb's package is missing; for an empty path.
    """
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    check_given(given)
    inputs = Inputs(given=[str(path) for path in given], window=None if window is None else (window[0], window[1]))
    names: dict[str, _Found] = {}
    for path, listed in _named(given, inputs):
        if is_address(path):
            from .archive import find_instances  # requests, which not everybody has

            find_instances(str(path), inputs, flat, token_file)
            continue
        check_scheme(path)
        _add(_walk(Path(path), inputs, flat, listed), inputs, names, flat)
    return inputs


def _named(given: Sequence[str | Path], inputs: Inputs) -> Iterator[tuple[str | Path, str]]:
    """What is given, and what the lists among it name: with the list, or ""."""
    for path in given:
        if not is_list(path):
            yield path, ""
            continue
        try:
            named = read_list(path)
        except CASRError as error:
            inputs.failures[str(path)] = error
            continue
        for line in named:
            yield line, str(path)


def _add(walk: Iterator[_Found], inputs: Inputs, names: dict[str, _Found], flat: bool) -> None:
    """The frames of the files that a walk finds."""
    for found in walk:
        other = names.get(found.name)
        if other is not None:
            # Named twice, or named beside its folder, is no conflict.
            if not _same(found.path, other.path):
                inputs.failures[str(found.path)] = DataError(_meeting(found, other, flat))
            continue
        frames = _look(found, inputs)
        if frames == 0:
            continue
        names[found.name] = found
        common = {"image": str(found.path), "path": str(found.path), "name": found.name, "frames": frames}
        inputs.items += [{**common, "frame": i} for i in range(frames)]


def _look(found: _Found, inputs: Inputs) -> int:
    """Number of frames; 0 for a file that cannot be used, which is noted."""
    path = found.path
    inputs.looked_at += 1
    try:
        return read_angiogram(path, inputs.window).frames
    except Exception as error:  # whatever is wrong with one file must not cost the others
        kind = no_image(path)
        if kind and found.folder is not None:
            inputs.pass_over(OBJECTS)
            return 0
        inputs.failures[str(path)] = _refusal(path, kind, error)
        return 0


def _refusal(path: Path, kind: str, error: Exception) -> CASRError:
    if kind:
        advice = "; give its folder, to have the files found that it lists" if "Directory" in kind else ""
        refusal: CASRError = DataError(f"{path}: a DICOM object that is no image ({kind}){advice}.")
    elif isinstance(error, CASRError):
        return error
    else:
        refusal = DataError(f"{path}: cannot be read; --debug shows where the {type(error).__name__} comes from.")
    refusal.__cause__ = error
    return refusal


def no_image(path: str | Path) -> str:
    """What a DICOM object is, if it is no image, such as "Basic Text SR Storage"; empty for all other files.

    Objects are known by the SOP class of their file meta information (PS3.10, 7.1): those of images are all called so.
    """
    import pydicom  # slow to import, and not needed for other files

    try:
        with open(path, "rb") as stream:
            if stream.read(132)[128:] != b"DICM":
                return ""
        uid = pydicom.filereader.read_file_meta_info(path).get("MediaStorageSOPClassUID")
    except Exception:  # damaged in whatever way: the reader's own error says more
        return ""
    # The name of a UID that pydicom does not know is the UID itself.
    if uid is None or uid.name == str(uid) or "Image Storage" in uid.name:
        return ""
    return shown(str(uid.name)).strip("'")


def _walk(path: Path, inputs: Inputs, flat: bool, listed: str) -> Iterator[_Found]:
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        inputs.failures[str(path)] = DataError(
            f"{path}: {_absence(error)}{f', which {listed} names' if listed else ''}."
        )
        return
    if stat.S_ISDIR(mode):
        for found in _images(path, inputs, flat):
            yield replace(found, name=name_in_list(found.path, flat)) if listed else found
    elif stat.S_ISREG(mode):
        yield _Found(path, name_in_list(path, flat) if listed else plain_stem(path), None)
    else:
        inputs.failures[str(path)] = DataError(f"{path}: neither a file nor a folder.")


def _images(root: Path, inputs: Inputs, flat: bool) -> Iterator[_Found]:
    passed, objects, refused = (inputs.passed, inputs.passed_over.get(OBJECTS, 0), len(inputs.failures))
    found = 0
    for path in _files(root, inputs, set()):
        if is_result(path):
            inputs.pass_over(RESULTS)
        elif is_image(path):
            found += 1
            stem = plain_stem(path)
            name = stem if flat else (path.relative_to(root).parent / stem).as_posix()
            yield _Found(path, name, root)
    # Whoever asked for the files has looked at them by now.
    if found == inputs.passed_over.get(OBJECTS, 0) - objects and len(inputs.failures) == refused:
        rest = f" (passed over: {inputs.passed - passed} files)" if inputs.passed > passed else ""
        inputs.failures[str(root)] = UsageError(f"{root}: the folder holds no images{rest}.")


def _files(folder: Path, inputs: Inputs, walked: set[tuple[int, int]]) -> Iterator[Path]:
    """Files in and below a folder, in order, links followed; hidden ones are left out."""
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in walked:
            inputs.pass_over(LINKS)
            return
        walked.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as listing:
            names = sorted(entry.name for entry in listing if not entry.name.startswith("."))
    except OSError as error:
        inputs.failures[str(folder)] = DataError(f"{folder}: {_absence(error)}.")
        return
    for name in names:
        path = folder / name
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            if suffix(path) in RASTER + VOLUME + DICOM:
                inputs.failures[str(path)] = DataError(f"{path}: {_absence(error, link=path.is_symlink())}.")
            continue
        if stat.S_ISDIR(mode):
            yield from _files(path, inputs, walked)
        elif stat.S_ISREG(mode):
            yield path


def _absence(error: OSError | ValueError, link: bool = False) -> str:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return "a link to a file that is not there" if link else "no such file or folder"
    reason = error.strerror if isinstance(error, OSError) else None
    return f"cannot be opened: {reason or 'no possible name'}"


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _meeting(found: _Found, other: _Found, flat: bool) -> str:
    """Why two files cannot both be done, and how they can."""
    text = f"{found.path}: would be written under the same name {found.name!r} as {other.path}; "
    if flat and (found.folder is not None or other.folder is not None):
        return f"{text}without --flat the folders stay apart."
    folders = [os.path.abspath(part.path.parent) for part in (found, other)]
    if folders[0] == folders[1]:
        return f"{text}rename one, or give each an output folder of its own."
    try:
        common = os.path.commonpath(folders)
    except ValueError:  # on different drives
        common = ""
    if not common or common == os.path.dirname(common):
        return f"{text}give each an output folder of its own."
    return f"{text}give the folder that holds both, {common}, whose sub-folders are kept, or two output folders."
