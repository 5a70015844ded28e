"""What pyproject.toml cannot say: the packages of the tree, found, beside the bundle's folders, which are mapped; and
README as a package index shows it, where links into the repository lead to its address."""

import re
from pathlib import Path

from setuptools import find_packages, setup

DATA = ["casr_net._bundle.configs", "casr_net._bundle.models", "casr_net._bundle.docs", "casr_net._bundle.sample"]
ADDRESS = "https://github.com/casr-net/SlicerCASRSegmentation"


def absolute(readme: str) -> str:
    """README with addresses in place of relative links; pictures lead to the files themselves."""

    def moved(match: re.Match[str]) -> str:
        place = f"{ADDRESS}/{'raw' if match[1] else 'blob'}/main/{match[3]}"
        return f"{match[1]}[{match[2]}]({place})"

    return re.sub(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)", moved, readme)


setup(
    packages=find_packages("monai_bundle", include=["casr_net", "casr_net.*"]) + DATA,
    long_description=absolute((Path(__file__).parent / "README.md").read_text(encoding="utf-8")),
    long_description_content_type="text/markdown",
)
