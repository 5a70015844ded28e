"""The network that is rewritten for inference is the same function."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from casr_net.network.casrnet import CASRNet
from casr_net.network.rewrite import rewritten


@pytest.mark.parametrize("encoder", ["efficientnet_lite0", "densenet121"])
@pytest.mark.parametrize("q", [1, 3])
@pytest.mark.parametrize("widths", [(8, 7, 6, 5, 4), (48, 33, 32, 16, 16)])  # all kinds of blocks
@pytest.mark.parametrize("narrow", [False, True])
def test_same_logits(encoder: str, q: int, widths: tuple[int, ...], narrow: bool) -> None:
    torch.manual_seed(q)
    network = CASRNet(encoder, out_channels=2, q=q, decoder_channels=widths).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as of a trained network: none is the identity
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    inputs = torch.rand(2, 3, 64, 96) * 2 - 1
    with torch.no_grad():
        expected, found = network(inputs), rewritten(network, narrow)(inputs)
    assert expected.std() > 0.01
    assert (found - expected).abs().max() < 1e-5
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    folded = [module for module in rewritten(network).modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(folded) < len([module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]) / 2 + 5
