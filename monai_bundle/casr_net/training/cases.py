"""Lists of cases: the ``cases.csv`` of a data set, its folds, and weights that balance data sets."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError
from ..network.weights import sha256

__all__ = ["balanced_weights", "cases_digest", "join_cases", "load_cases", "load_split", "split_rows"]

ENCODING = "utf-8-sig"  # with or without the mark that spreadsheets write at the beginning
COLUMNS = ("dataset", "file", "fold")
SPLIT_COLUMNS = ("file", "split", "labelled")


def load_cases(
    dataset_dir: str | Path,
    exclude_folds: Sequence[int] = (),
    only_folds: Sequence[int] | None = None,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Read ``cases.csv`` and give the image and mask of every chosen case.

    The file has one row an image with at least the columns dataset, file and fold; image and mask are
    ``<dataset_dir>/<dataset>/images/<file>`` and ``<dataset_dir>/<dataset>/masks/<file>``. All images of a patient lie
    in one fold.

    Args:
        dataset_dir: folder of ``cases.csv``.
        exclude_folds: folds to leave out (the validation fold, for training); a negative number leaves out none.
        only_folds: folds to keep; None keeps all. A negative number stands for the lowest fold that there is:
            a training on all folds (``--fold -1``) validates on it.
        limit: keep only so many cases, evenly spread.

    Returns:
        dictionaries with image, label (paths), dataset, name and fold.

    Raises:
        DataError: when the list or a file is missing, or a row cannot be read.
        UsageError: when no case is left.
    """
    table = Path(dataset_dir) / "cases.csv"
    if not table.is_file():
        raise DataError(f"{table}: no such file; training needs a list of cases.")
    first_only = only_folds is not None and any(fold < 0 for fold in only_folds)
    kept = None if only_folds is None or first_only else set(only_folds)
    cases = []
    with open(table, newline="", encoding=ENCODING) as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
        if missing:
            raise DataError(f"{table}: column {missing[0]!r} is missing; needed are {', '.join(COLUMNS)}.")
        for line, row in enumerate(reader, start=2):
            try:
                fold = int(row["fold"])
            except (TypeError, ValueError) as error:
                raise DataError(f"{table}, line {line}: fold is {row['fold']!r}, not a whole number.") from error
            if fold in exclude_folds or (kept is not None and fold not in kept):
                continue
            folder = table.parent / row["dataset"]
            case: dict[str, Any] = {
                "image": str(folder / "images" / row["file"]),
                "label": str(folder / "masks" / row["file"]),
                "dataset": row["dataset"],
                "name": f"{row['dataset']}/{row['file']}",
                "fold": fold,
            }
            for key in ("image", "label"):
                if not Path(case[key]).is_file():
                    raise DataError(f"{table}, line {line}: {case[key]} does not exist.")
            cases.append(case)
    if first_only:
        first = min((case["fold"] for case in cases), default=0)
        cases = [case for case in cases if case["fold"] == first]
    if not cases:
        raise UsageError(f"{table}: no case left (excluded folds {list(exclude_folds)}, kept folds {only_folds}).")
    if limit is not None and limit < len(cases):
        cases = [cases[i * len(cases) // limit] for i in range(limit)]
    return cases


def split_rows(folder: str | Path, split: str) -> list[dict[str, str]]:
    """Rows of one published split of a set such as ARCADE.

    Its ``cases.csv`` has at least the columns file, split and labelled ("no": there is no mask).

    Raises:
        DataError: when the list cannot be read, or has none of the split.
    """
    table = Path(folder) / "cases.csv"
    try:
        with open(table, newline="", encoding=ENCODING) as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in SPLIT_COLUMNS if name not in (reader.fieldnames or [])]
            if missing:
                raise DataError(f"{table}: column {missing[0]!r} is missing; needed are {', '.join(SPLIT_COLUMNS)}.")
            rows = [row for row in reader if row["split"] == split]
    except OSError as error:
        raise DataError(f"{table}: cannot be read ({error.strerror}).") from error
    if not rows:
        raise DataError(f"{table}: no image of split {split!r}.")
    return rows


def load_split(folder: str | Path, split: str = "train", limit: int | None = None) -> list[dict[str, Any]]:
    """Image and mask of every labelled case of one published split, as they are.

    Args:
        folder: of the set, with ``cases.csv`` (:func:`split_rows`), ``images`` and ``masks`` (PNG).
        split: its name.
        limit: keep only so many cases, evenly spread.

    Returns:
        dictionaries with image, label (paths), dataset and name.

    Raises:
        DataError: when the list or a file is missing.
    """
    folder = Path(folder)
    cases = []
    for row in split_rows(folder, split):
        if row["labelled"] != "no":
            case = {
                "image": str(folder / "images" / row["file"]),
                "label": str(folder / "masks" / f"{Path(row['file']).stem}.png"),
                "dataset": folder.name,
                "name": f"{folder.name}/{row['file']}",
            }
            for key in ("image", "label"):
                if not Path(case[key]).is_file():
                    raise DataError(f"{case[key]}: no such file; {key} of {case['name']}.")
            cases.append(case)
    if limit is not None and limit < len(cases):
        cases = [cases[i * len(cases) // limit] for i in range(limit)]
    return cases


def join_cases(lists: Sequence[Sequence[Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    """Several lists of cases as one, in their order; any of them may be empty."""
    return [case for part in lists for case in part]


def balanced_weights(
    cases: Sequence[Mapping[str, Any]], power: float = 0.5, shares: Mapping[str, float] | None = None
) -> list[float]:
    """Sampling weight of each case, so that small data sets are drawn more often than their share.

    A data set of n cases is drawn with probability proportional to n ** power: 1 leaves the natural shares, 0 makes all
    data sets equally frequent. 0.5 is our choice: equal shares would repeat the 56 DCA1 images of a fold far too often.

    Args:
        cases: as from :func:`load_cases`; those without "dataset", as MONAI Label gives them, are one more data set.
        power: see above, in [0, 1].
        shares: data sets that are drawn with a share of their own, in [0, 1), whatever their size; sets that are not
            there do not matter.

    Raises:
        UsageError: when there is no case, or the shares leave nothing to the others.
    """
    if not cases:
        raise UsageError("0 cases to train on; at least 1 is needed (on a label server: a label that is final).")
    sizes = Counter(case.get("dataset") for case in cases)
    own = {name: share for name, share in (shares or {}).items() if name in sizes}
    if any(share < 0 for share in own.values()) or sum(own.values()) >= 1:
        raise UsageError(f"shares of data sets are {own}; each is from 0, and all together are below 1.")
    rest = sum(size**power for name, size in sizes.items() if name not in own)
    totals = {name: share / (1 - sum(own.values())) * rest for name, share in own.items()}
    weights = {name: totals[name] / size if name in own else size ** (power - 1) for name, size in sizes.items()}
    return [float(weights[case.get("dataset")]) for case in cases]


def cases_digest(cases: Sequence[Mapping[str, Any]]) -> str:
    """Hexadecimal SHA-256 of what the files of cases hold (image, label, unknown), in their order; names do not count.

    Raises:
        OSError: when a file cannot be read.
    """
    total = hashlib.sha256()
    for case in cases:
        for key in ("image", "label", *(["unknown"] if "unknown" in case else [])):
            total.update(bytes.fromhex(sha256(case[key])))
    return total.hexdigest()
