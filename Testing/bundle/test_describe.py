"""Settings as the record of a run holds and hashes them."""

from __future__ import annotations

import torch
from monai.transforms import Compose, DivisiblePadd

from casr_net.inference.provenance import changed_settings, describe
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


def test_what_differs_is_named() -> None:
    def chain(k: int, threshold: float, window: list[float] | None = None) -> list[object]:
        steps = describe(Compose([DivisiblePadd("image", k=k), RefineVesselsd("pred", threshold=threshold)]))
        return [describe(CASRNet(q=1)), steps, {"window": window}]

    before = chain(32, 0.5)
    assert changed_settings(before, chain(32, 0.5)) == []
    assert changed_settings(before, chain(32, 0.4)) == ["threshold 0.5, now 0.4"]
    both = ["k 32, now 16", "threshold 0.5, now 0.4", "window null, now [100, 200]"]
    assert changed_settings(before, chain(16, 0.4, [100, 200])) == both
    assert changed_settings([before, before], [chain(16, 0.5)] * 2) == both[:1]
    # Another step, or another number of them.
    assert changed_settings(before[1][:1], before[1][1:]) == ["DivisiblePadd, now RefineVesselsd"]
    assert changed_settings(before, [before[0], before[1][:1], before[2]]) == ["2 steps, now 1 step"]
