"""Where the bundle's configurations and weights are, in the repository and in an installed package alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import CASRError, UsageError, shown
from .settings import SETTINGS, check_keys, check_settings

__all__ = ["build", "bundle_root", "config_files", "expected_error", "load_parser"]


def bundle_root() -> Path:
    """Folder with ``configs`` and ``models``: beside this package in the repository, inside it in a wheel."""
    package = Path(__file__).resolve().parent.parent
    packed = package / "_bundle"
    return packed if packed.is_dir() else package.parent


def config_files(overlays: Sequence[str | Path] = (), base: str = "inference.json") -> list[str]:
    """The base configuration followed by overlays, each checked.

    An overlay is a path, or the bare name of a shipped one ("paper" for configs/paper.json).

    Raises:
        UsageError: when an overlay is missing, is not JSON, has a key that the base does not know, or a wrong value.
    """
    configs = bundle_root() / "configs"
    known = json.loads((configs / base).read_text(encoding="utf-8"))
    files = [configs / base]
    for overlay in overlays:
        path = Path(overlay)
        if not path.is_file() and (configs / f"{overlay}.json").is_file():
            path = configs / f"{overlay}.json"
        content = _read_json(path, overlay)
        if not isinstance(content, dict):
            raise UsageError(f"{path}: not a JSON configuration: expected an object of keys and values.")
        check_keys(content, known, str(path), base)
        files.append(path)
    return [str(path) for path in files]


def _read_json(path: Path, named: str | Path) -> Any:
    if path.is_dir():
        raise UsageError(f"{named}: a folder; expected a configuration file.")
    if path.exists() and not path.is_file():
        raise UsageError(f"{named}: no regular file; a configuration is read several times, which a pipe cannot give.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{named}: no such configuration file.") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError(f"{named}: the configuration file cannot be read: {reason}.") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise UsageError(f"{path}: not a JSON configuration: wrong at {place}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not a JSON configuration: no text in UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path}: not a JSON configuration: a number is too long, or it is nested too deep."
        ) from error


def build(parser: Any, name: str) -> Any:
    """Make one component of a parsed configuration.

    Raises:
        CASRError: of ours, as it was raised inside; or UsageError, for arguments that a component refuses.
    """
    try:
        return parser.get_parsed_content(name)
    except Exception as error:
        known = expected_error(error)
        if known is not None:
            raise known from error
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        if isinstance(root, _WRONG):
            reason = shown(" ".join(str(root).split()), 200)[1:-1] or type(root).__name__
            raise UsageError(f"configuration: {name} cannot be made: {reason}") from error
        raise


# What wrong arguments, expressions and references of a configuration make Python and MONAI raise.
_WRONG = (
    TypeError, ValueError, LookupError, ArithmeticError, AttributeError, NameError, SyntaxError, ImportError,
    RecursionError,
)  # fmt: skip


def load_parser(overlays: Sequence[str | Path] = (), **overrides: Any) -> Any:
    """MONAI ``ConfigParser`` of the inference configuration with overlays and overrides; nothing is built yet.

    Raises:
        UsageError: for a wrong overlay, an unknown override, or a wrong value of a key that users set.
    """
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(config_files(overlays))
    check_keys(overrides, parser.get(), "arguments", "inference.json")
    parser.update({"bundle_root": str(bundle_root()), **overrides})
    # Expressions and references among them are known only now.
    check_settings({key: build(parser, key) for key in SETTINGS if key in parser.get()}, "configuration")
    return parser


def expected_error(error: BaseException) -> CASRError | None:
    """The error of ours inside what MONAI's configuration system or a transform raised; None if there is none."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, CASRError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
