"""Where the bundle's configurations and weights are, in the repository and in an installed package alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import CASRError, UsageError

__all__ = ["build", "bundle_root", "check_keys", "config_files", "expected_error", "load_parser"]


def bundle_root() -> Path:
    """Folder with ``configs`` and ``models``: beside this package in the repository, inside it in a wheel."""
    package = Path(__file__).resolve().parent.parent
    packed = package / "_bundle"
    return packed if packed.is_dir() else package.parent


def config_files(overlays: Sequence[str | Path] = (), base: str = "inference.json") -> list[str]:
    """The base configuration followed by overlays, each checked.

    An overlay is a path, or the bare name of a shipped one ("paper" for configs/paper.json).

    Raises:
        UsageError: when an overlay is missing, is not JSON, or has a key that the base does not know.
    """
    configs = bundle_root() / "configs"
    known = json.loads((configs / base).read_text(encoding="utf-8"))
    files = [configs / base]
    for overlay in overlays:
        path = Path(overlay)
        if not path.is_file() and (configs / f"{overlay}.json").is_file():
            path = configs / f"{overlay}.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"{overlay}: no such configuration file.") from error
        except ValueError as error:
            raise UsageError(f"{path}: not a JSON configuration: {error}.") from error
        if not isinstance(content, dict):
            raise UsageError(f"{path}: not a JSON configuration: expected an object of keys and values.")
        check_keys(content, known, str(path), base)
        files.append(path)
    return [str(path) for path in files]


def check_keys(overlay: Mapping[str, Any], known: Mapping[str, Any], source: str, base: str) -> None:
    """Refuse keys that would silently change nothing.

    Keys of MONAI's form ``network_def#q`` are followed as far as the base goes; the last part may be a new argument of
    a component, which the component itself checks.

    Raises:
        UsageError: naming the key and the nearest known one.
    """
    for key in overlay:
        place: Any = known
        parts = key.lstrip("+~").replace("::", "#").split("#")
        for depth, part in enumerate(parts):
            if isinstance(place, list):
                if not part.isdigit() or int(part) >= len(place):
                    count = f"{parts[depth - 1]!r} has {len(place)} entries"
                    raise UsageError(f"{source}: {base} has no key {key!r}: {count}.")
                place = place[int(part)]
            elif isinstance(place, dict) and part in place:
                place = place[part]
            elif isinstance(place, dict) and "_target_" in place and depth == len(parts) - 1:
                break
            else:
                options = list(place) if isinstance(place, dict) else []
                near = get_close_matches(part, options, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else "."
                raise UsageError(f"{source}: {base} has no key {key!r}{hint}")


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
        if isinstance(root, (TypeError, ValueError, KeyError, IndexError, ModuleNotFoundError)):
            reason = " ".join(str(root).split())
            raise UsageError(f"configuration: {name} cannot be made: {reason}") from error
        raise


def load_parser(overlays: Sequence[str | Path] = (), **overrides: Any) -> Any:
    """MONAI ``ConfigParser`` of the inference configuration with overlays and overrides; nothing is built yet.

    Raises:
        UsageError: for a wrong overlay or an unknown override.
    """
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(config_files(overlays))
    check_keys(overrides, parser.get(), "arguments", "inference.json")
    parser.update({"bundle_root": str(bundle_root()), **overrides})
    return parser


def expected_error(error: BaseException) -> CASRError | None:
    """The error of ours inside what MONAI's configuration system or a transform raised; None if there is none."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, CASRError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
