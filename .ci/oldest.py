"""Requirements of the lowest versions that pyproject.toml allows: its dependencies, and what the core tests need.

torch is left out: it is installed before, at the version of constraints.txt.
"""

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def lowest(requirement: str) -> str:
    """``name==floor`` of ``name>=floor,...``."""
    found = re.fullmatch(r"([\w.-]+)>=([\w.]+)(,.*)?", requirement)
    if found is None:
        raise SystemExit(f"{PROJECT.name}: {requirement!r} has no lowest version; write name>=version.")
    return f"{found[1]}=={found[2]}"


def requirements() -> list[str]:
    """Lines for pip."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    runtime = [lowest(text) for text in project["dependencies"] if not text.startswith("torch>")]
    return runtime + project["optional-dependencies"]["test-core"]


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements()) + "\n")
