"""What Dockerfiles say, as far as this project's use it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FOLDER", "ROOT", "Dockerfile"]

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docker"


@dataclass(frozen=True)
class Dockerfile:
    """Instructions in their order, lines joined, without comments."""

    name: str
    instructions: list[tuple[str, str]]

    @staticmethod
    def read(path: Path) -> Dockerfile:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
        whole = re.sub(r"\\\n\s*", " ", "\n".join(lines))
        return Dockerfile(
            path.name, [(line.split()[0], line.split(None, 1)[1]) for line in whole.splitlines() if line.strip()]
        )

    def of(self, kind: str) -> list[str]:
        """All instructions of a kind."""
        return [text for name, text in self.instructions if name == kind]

    def command(self, kind: str) -> list[str]:
        """Of ENTRYPOINT, CMD or HEALTHCHECK: its words, which have to be given as a list."""
        (text,) = self.of(kind)
        found = json.loads(text[text.index("[") :])
        assert all(isinstance(word, str) for word in found)
        return list(found)

    @property
    def environment(self) -> dict[str, str]:
        return dict(re.findall(r"(\w+)=(\S+)", " ".join(self.of("ENV"))))

    @property
    def copied(self) -> list[tuple[str, str]]:
        """Sources within the repository, and where they go."""
        return [(source, target) for source, target in (text.split() for text in self.of("COPY"))]
