"""What pyproject.toml cannot say: the packages of the tree, found, beside the bundle's folders, which are mapped."""

from setuptools import find_packages, setup

DATA = ["casr_net._bundle.configs", "casr_net._bundle.models", "casr_net._bundle.docs", "casr_net._bundle.sample"]

setup(packages=find_packages("monai_bundle", include=["casr_net", "casr_net.*"]) + DATA)
