"""Settings as the record of a run holds and hashes them."""

from __future__ import annotations

import torch
from monai.transforms import Compose, DivisiblePadd

from casr_net.inference.record import describe
from casr_net.network.casrnet import CASRNet
from casr_net.refinement.transform import RefineVesselsd


def test_classes_go_by_the_package_that_offers_them() -> None:
    """Not by their module: a later move of files must not change the hash of the same settings."""
    chain = describe(Compose([DivisiblePadd("image", k=32), RefineVesselsd("pred", threshold=0.4)]))
    assert [step["class"] for step in chain] == ["monai.transforms.DivisiblePadd", "casr_net.refinement.RefineVesselsd"]
    assert chain[1]["parameters"]["threshold"] == 0.4
    assert describe(CASRNet(q=1))["class"] == "casr_net.network.CASRNet"
    assert describe(torch.nn.ReLU())["class"] == "torch.nn.ReLU"


class Own:
    pass


def test_a_class_that_no_package_offers_goes_by_its_module() -> None:
    assert describe(Own())["class"] == f"{Own.__module__}.Own"
