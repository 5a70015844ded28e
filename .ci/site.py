"""What the documentation takes from elsewhere (a hook of MkDocs, see mkdocs.yml).

Pages that belong to another folder are brought in from there, links between pages follow, links to other files lead to
the repository, and the reference pages are made from the command line's own help, the configurations and the schemas.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "monai_bundle"
REPOSITORY = "https://github.com/casr-net/SlicerCASRSegmentation/blob/main/"

PAGES = {
    "model-card.md": "monai_bundle/docs/README.md",
    "label-server.md": "monai_bundle/label_app/README.md",
    "slicer.md": "CASRSegmentation/README.md",
    "changes.md": "CHANGELOG.md",
}
"""Pages of the site that stand elsewhere in the repository."""

MADE = {
    "cli.md": "monai_bundle/casr_net/cli",
    "configs.md": "monai_bundle/configs/inference.json",
    "run-json.md": "monai_bundle/docs/run.schema.json",
    "measurements-json.md": "monai_bundle/docs/measurements.schema.json",
}
"""Pages that are made, and what of the repository a link to them names: pages are read there too."""

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
PICTURES = (".png", ".jpg", ".webp", ".svg")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made or brought in, and the pictures that they show."""
    made = {
        "cli.md": command_line(), "configs.md": configurations(),
        "run-json.md": schema("run.schema.json", "run.json", "`casr segment` writes it into the output folder."),
        "measurements-json.md": schema(
            "measurements.schema.json", "measurements.json", "`casr analyze` writes it into the folder of each input."
        ),
    }  # fmt: skip
    made |= {page: (ROOT / source).read_text(encoding="utf-8") for page, source in PAGES.items()}
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    for page in files.documentation_pages():
        for target in pictures(page.content_string, source_of(page.src_uri)):
            name = site_name(target)
            if files.get_file_from_path(name) is None:
                place = File.generated(config, name, abs_src_path=str(ROOT / target))
                place.inclusion = InclusionLevel.NOT_IN_NAV
                files.append(place)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links of a page, as they lead from its place on the site."""
    source = source_of(page.file.src_uri)
    here = posixpath.dirname(page.file.src_uri)

    def moved(match: re.Match[str]) -> str:
        target, mark, anchor = match[3].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        name = site_name(place)
        if name:
            return f"{match[1]}[{match[2]}]({posixpath.relpath(name, here or '.')}{mark}{anchor})"
        if (ROOT / place).exists():
            return f"[{match[2]}]({REPOSITORY}{place}{mark}{anchor})"
        return match[0]  # MkDocs says that it leads nowhere

    return LINK.sub(moved, markdown)


def source_of(page: str) -> str:
    """Where a page of the site stands in the repository."""
    return PAGES.get(page, f"docs/{page}")


def site_name(place: str) -> str:
    """What a file of the repository is called on the site; empty if it is not there."""
    known = {source: page for page, source in (PAGES | MADE).items()}
    if place in known:
        return known[place]
    if place.startswith("docs/"):
        return place.removeprefix("docs/")
    return f"pictures/{posixpath.basename(place)}" if place.endswith(PICTURES) and (ROOT / place).is_file() else ""


def pictures(text: str, source: str) -> Iterator[str]:
    """Pictures outside of docs that a page shows, by their place in the repository."""
    for match in LINK.finditer(text):
        if match[1] and "://" not in match[3]:
            place = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[3]))
            if not place.startswith("docs/") and (ROOT / place).is_file():
                yield place


def command_line() -> str:
    """The help of each command, as a terminal of 100 columns shows it."""
    sys.path.insert(0, str(BUNDLE))
    from casr_net import cli

    os.environ["COLUMNS"] = "100"
    parser = cli._parser(cli.COMMANDS)
    (commands,) = (action.choices for action in parser._actions if action.dest == argparse_dest(parser))
    parts = [("casr", parser.format_help())]
    parts += [(f"casr {name}", command.format_help()) for name, command in commands.items()]
    blocks = "\n\n".join(f"## {name}\n\n```text\n{text.rstrip()}\n```" for name, text in parts)
    return f"# Command line\n\nWhat `--help` says.\n\n{blocks}\n"


def argparse_dest(parser: Any) -> str:
    """Name of the action that holds the commands."""
    return next(action.dest for action in parser._actions if hasattr(action, "add_parser"))


def configurations() -> str:
    """The keys that users set, with the default and what is allowed, and the shipped files."""
    sys.path.insert(0, str(BUNDLE))
    from casr_net.inference.settings import SETTINGS

    folder = BUNDLE / "configs"
    base = json.loads((folder / "inference.json").read_text(encoding="utf-8"))
    rows = [
        f"| `{name}` | {allowed} | `{json.dumps(base[name])}` |".replace("|null", "null")
        for name, (_, allowed) in SETTINGS.items()
        if name in base
    ]
    files = [
        f"### {path.name}\n\n```json\n{path.read_text(encoding='utf-8').rstrip()}\n```"
        for path in sorted(folder.glob("*.json"))
    ]
    return "\n".join(
        [
            "# Configurations", "",
            "The bundle is wired by JSON files of [MONAI's form](https://docs.monai.io/en/stable/config_syntax.html). "
            "`--config FILE` lays an overlay on `inference.json`, such as `{\"threshold\": 0.4}`; unknown keys and "
            "wrong values are refused by name.", "", "## Keys that users set", "", "| key | value | default |",
            "|---|---|---|", *rows, "", "## The files", "", "\n\n".join(files), "",
        ]
    )  # fmt: skip


def schema(name: str, title: str, first: str) -> str:
    """The entries of a JSON Schema as tables, and the schema itself."""
    content = json.loads((BUNDLE / "docs" / name).read_text(encoding="utf-8"))
    parts = [f"# {title}", "", f"{content['description']} {first}", "", "## The whole", "", *entries(content)]
    for key, part in content.get("$defs", {}).items():
        if "properties" in part:
            parts += [
                "",
                f"## {key}",
                "",
                *([part["description"], ""] if "description" in part else []),
                *entries(part),
            ]
    text = (BUNDLE / "docs" / name).read_text(encoding="utf-8").rstrip()
    return "\n".join([*parts, "", f"## {name}", "", "```json", text, "```", ""])


def entries(part: dict[str, Any]) -> list[str]:
    """A table of the properties of an object."""
    needed = set(part.get("required", ()))
    rows = [
        f"| `{key}`{'' if key in needed else ' (optional)'} | {kind(value)} | {value.get('description', '')} |"
        for key, value in part.get("properties", {}).items()
    ]
    return ["| entry | kind | |", "|---|---|---|", *rows]


def kind(value: dict[str, Any]) -> str:
    """What a value may be, in words."""
    if "$ref" in value:
        return str(value["$ref"]).rpartition("/")[2]
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if "enum" in value:
        return ", ".join(f"`{choice}`" for choice in value["enum"])
    if "anyOf" in value:
        return " or ".join(kind(choice) for choice in value["anyOf"])
    names = value.get("type", "any")
    words = " or ".join(names) if isinstance(names, list) else names
    if words == "array" and isinstance(value.get("items"), dict):
        return f"list of {kind(value['items'])}"
    return words
