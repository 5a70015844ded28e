"""Stage 1 on batches of images on any device of PyTorch, as accelerated training needs it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ..errors import shown
from .channels import CHANNELS

__all__ = ["BatchedChannels", "ben_graham_batch", "clahe_batch"]

LEVELS = 256


def clahe_batch(grey: torch.Tensor, clip_limit: float = 2.0, tiles: int = 8) -> torch.Tensor:
    """CLAHE as OpenCV computes it (:func:`casr_net.preprocessing.clahe`), for many images at once.

    Contrast limited adaptive histogram equalisation after Zuiderveld (Graphics Gems IV, 1994): a clipped histogram a
    tile, and bilinear interpolation between the mappings of the four nearest tiles.

    Args:
        grey: (N, 1, X, Y) in [0, 1]; X and Y are multiples of ``tiles``.
        clip_limit: highest count of a level, as a multiple of the mean count.
        tiles: along each side.

    Returns:
        float32 of the same shape, in [0, 1]; equal to OpenCV's but for single levels (1 / 255) where a sum of floats
        lies on the edge between two.

    Raises:
        ValueError: for a size that the tiles do not divide.
    """
    count, _, width, height = grey.shape
    if width % tiles or height % tiles:
        raise ValueError(f"images are {width} x {height}; {tiles} tiles a side must divide both.")
    levels = (grey.float().clamp(0, 1) * 255).round().long()[:, 0]
    tile_x, tile_y = width // tiles, height // tiles
    area = tile_x * tile_y
    split = levels.view(count, tiles, tile_x, tiles, tile_y).permute(0, 1, 3, 2, 4).reshape(-1, area)
    histogram = torch.zeros(len(split), LEVELS, dtype=torch.long, device=grey.device)
    histogram.scatter_add_(1, split, torch.ones_like(split))
    limit = max(int(clip_limit * area / LEVELS), 1)
    surplus = (histogram - limit).clamp(min=0).sum(1, keepdim=True)
    # What was cut off goes to all levels alike; the rest of the division to every step-th one.
    rest = surplus % LEVELS
    step = (LEVELS // rest.clamp(min=1)).clamp(min=1)
    level = torch.arange(LEVELS, device=grey.device)[None]
    histogram = histogram.clamp(max=limit) + surplus // LEVELS + ((level % step == 0) & (level // step < rest)).long()
    tables = (histogram.cumsum(1).float() * (255.0 / area)).round().clamp(0, 255).view(count, -1)
    low_x, high_x, share_x = _neighbours(width, tiles, grey.device)
    low_y, high_y, share_y = _neighbours(height, tiles, grey.device)

    def mapped(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        place = (x[:, None] * tiles + y[None]) * LEVELS
        return tables.gather(1, (place[None] + levels).view(count, -1)).view(count, width, height)

    share_x, share_y = share_x[None, :, None], share_y[None, None]
    low = mapped(low_x, low_y) * (1 - share_y) + mapped(low_x, high_y) * share_y
    high = mapped(high_x, low_y) * (1 - share_y) + mapped(high_x, high_y) * share_y
    return ((low * (1 - share_x) + high * share_x).round().clamp(0, 255) / 255)[:, None]


def _neighbours(size: int, tiles: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For each line of an image: the tiles before and behind its centre, and the share of the latter."""
    place = torch.arange(size, dtype=torch.float32, device=device) * (1.0 / (size // tiles)) - 0.5
    first = place.floor()
    return first.long().clamp(min=0), (first.long() + 1).clamp(max=tiles - 1), place - first


def ben_graham_batch(
    grey: torch.Tensor, field: torch.Tensor | None = None, alpha: float = 4.0, sigma_fraction: float = 1 / 30
) -> torch.Tensor:
    """The improved Ben Graham method (:func:`casr_net.preprocessing.ben_graham`), for many images at once.

    Args:
        grey: (N, 1, X, Y) in [0, 1].
        field: bool (N, 1, X, Y), True inside the exposed field; None means everywhere.
        alpha: gain of the local contrast.
        sigma_fraction: sigma of the Gaussian, as a share of the longer side.

    Returns:
        float32 of the same shape, in [0, 1]; 0.5 outside the field.
    """
    grey = grey.float()
    sigma = max(sigma_fraction * max(grey.shape[-2:]), 0.5)
    along_x = _gaussian_matrix(grey.shape[-2], sigma, grey.device)
    along_y = _gaussian_matrix(grey.shape[-1], sigma, grey.device)

    def blurred(image: torch.Tensor) -> torch.Tensor:
        return along_x @ image @ along_y.T

    if field is None:
        return (alpha * (grey - blurred(grey)) + 0.5).clamp(0, 1)
    weight = field.float()
    mean = blurred(grey * weight) / blurred(weight).clamp(min=1e-6)
    return torch.where(field, (alpha * (grey - mean) + 0.5).clamp(0, 1), 0.5)


_matrices: dict[tuple[int, float, torch.device], torch.Tensor] = {}


def _gaussian_matrix(size: int, sigma: float, device: torch.device) -> torch.Tensor:
    """Gaussian blur along one axis as a matrix, mirrored at the borders (OpenCV's REFLECT_101, and its kernel's width).

    A product of matrices of this size takes an accelerator less time than a convolution with some hundred taps.
    """
    key = (size, sigma, device)
    if key not in _matrices:
        radius = (round(sigma * 8 + 1) | 1) // 2
        offsets = torch.arange(-radius, radius + 1)
        taps = torch.exp(-(offsets.double() ** 2) / (2 * sigma**2))
        taps /= taps.sum()
        period = max(2 * (size - 1), 1)
        source = (torch.arange(size)[:, None] + offsets[None]).remainder(period)
        source = torch.where(source >= size, period - source, source)
        matrix = torch.zeros(size, size, dtype=torch.float64)
        matrix.scatter_add_(1, source, taps.expand(size, -1).contiguous())
        _matrices[key] = matrix.float().to(device)
    return _matrices[key]


class BatchedChannels:
    """The network's input (:class:`casr_net.preprocessing.MultichannelPreprocessd`), for many images at once.

    Args:
        channels: any of "grey", "clahe", "ben_graham" and "zero", in order.
        clip_limit, tiles, alpha, sigma_fraction: as there.

    Raises:
        ValueError: for an unknown channel.
    """

    def __init__(
        self,
        channels: Sequence[str] = ("grey", "clahe", "ben_graham"),
        clip_limit: float = 2.0,
        tiles: int = 8,
        alpha: float = 4.0,
        sigma_fraction: float = 1 / 30,
    ) -> None:
        if any(name not in CHANNELS for name in channels) or not math.isfinite(alpha):
            raise ValueError(f"channels are {shown(channels)}; known are {', '.join(CHANNELS)}.")
        self.channels, self.clip_limit, self.tiles = tuple(channels), clip_limit, tiles
        self.alpha, self.sigma_fraction = alpha, sigma_fraction

    def __call__(self, grey: torch.Tensor, field: torch.Tensor | None = None) -> torch.Tensor:
        """grey: (N, 1, X, Y) in [0, 1], filled outside the field; field: bool of the same shape, or None; gives
        (N, C, X, Y) in [-1, 1]."""
        parts = []
        for name in self.channels:
            if name == "grey":
                parts.append(grey.float())
            elif name == "clahe":
                parts.append(clahe_batch(grey, self.clip_limit, self.tiles))
            elif name == "ben_graham":
                parts.append(ben_graham_batch(grey, field, self.alpha, self.sigma_fraction))
            else:
                parts.append(torch.full_like(grey, 0.5, dtype=torch.float32))
        return torch.cat(parts, 1) * 2 - 1
