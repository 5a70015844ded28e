"""Functions of pixel values that DICOM names: rescale, lookup tables, windows (PS3.3 C.11.1 and C.11.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

__all__ = ["AS_STORED", "LookupTable", "Ramp", "Rescale", "Sigmoid", "Transfer", "window"]


class Transfer(Protocol):
    """A function of values, element by element, that can say of itself what it is."""

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """float32 of the shape of ``values``."""

    def clips(self, values: np.ndarray) -> np.ndarray:
        """bool: what lies outside the range that this function tells apart."""

    def describe(self) -> dict[str, Any]:
        """JSON-ready: ``low`` and ``high``, the values that become 0 and 1, and what else it takes."""


def _wide(values: np.ndarray) -> type[np.floating]:
    """The type to compute in: single precision has 24 bits, which large whole numbers exceed."""
    large = values.dtype.itemsize > (4 if values.dtype.kind == "f" else 2)
    return np.float64 if large else np.float32


@dataclass(frozen=True)
class Rescale:
    """slope * value + intercept (PS3.3 C.11.1.1)."""

    slope: float = 1.0
    intercept: float = 0.0

    @property
    def falls(self) -> bool:
        """Whether higher values become lower ones."""
        return self.slope < 0

    def __call__(self, values: np.ndarray) -> np.ndarray:
        if self.slope == 1 and self.intercept == 0:
            return values.astype(_wide(values), copy=False)
        return (values.astype(np.float64) * self.slope + self.intercept).astype(_wide(values), copy=False)


AS_STORED = Rescale()


@dataclass(frozen=True)
class LookupTable:
    """LUT Data with its descriptor (PS3.3 C.11.1.1 and C.11.2.1.1): below the first value the first entry, above the
    last one the last entry.

    Attributes:
        first: value that the first entry is for.
        entries: outputs; of a VOI LUT scaled to [0, 1].
    """

    first: int
    entries: tuple[float, ...]

    @property
    def falls(self) -> bool:
        """Whether higher values become lower ones, from the first entry to the last."""
        return self.entries[-1] < self.entries[0]

    def __call__(self, values: np.ndarray) -> np.ndarray:
        index = np.clip(np.rint(values).astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries, np.float32)[index]

    def clips(self, values: np.ndarray) -> np.ndarray:
        outputs = self(values)
        return (outputs <= min(self.entries)) | (outputs >= max(self.entries))

    def describe(self) -> dict[str, Any]:
        return {"low": float(self.first), "high": float(self.first + len(self.entries) - 1), "function": "LUT"}


@dataclass(frozen=True)
class Ramp:
    """0 up to ``low``, 1 from ``high`` on, a straight line between."""

    low: float
    high: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        kind = _wide(values)
        scaled = (values.astype(kind, copy=False) - kind(self.low)) / kind(self.high - self.low)
        return np.clip(scaled, 0, 1, out=scaled).astype(np.float32, copy=False)

    def clips(self, values: np.ndarray) -> np.ndarray:
        return (values < self.low) | (values > self.high)

    def describe(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "function": "LINEAR"}


@dataclass(frozen=True)
class Sigmoid:
    """1 / (1 + exp(-4 (x - centre) / width)) (PS3.3 C.11.2.1.3.1)."""

    centre: float
    width: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        exponent = np.clip(-4 * (values.astype(np.float64) - self.centre) / self.width, -700, 700)
        return (1 / (1 + np.exp(exponent))).astype(np.float32)

    def clips(self, values: np.ndarray) -> np.ndarray:
        return np.abs(values - self.centre) > self.width  # below 0.018 and above 0.982

    def describe(self) -> dict[str, Any]:
        return {"low": self.centre - self.width / 2, "high": self.centre + self.width / 2, "function": "SIGMOID"}


def window(centre: float, width: float, function: str = "LINEAR") -> Transfer | None:
    """A VOI window as a function of values after the Modality LUT (PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Returns:
        values to [0, 1]; None when it cannot be used: not finite, a width of at most 1 (LINEAR, where 1 is a threshold)
        or 0 (LINEAR_EXACT, SIGMOID), or an unknown function.
    """
    if not (np.isfinite(centre) and np.isfinite(width)) or max(abs(centre), width) > 1e30:
        return None
    if function == "LINEAR" and width > 1:
        return Ramp(centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)
    if function == "LINEAR_EXACT" and width > 0:
        return Ramp(centre - width / 2, centre + width / 2)
    return Sigmoid(centre, width) if function == "SIGMOID" and width > 0 else None
