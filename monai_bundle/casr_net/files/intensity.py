"""From stored values to shown grey, and to attenuation: one rule for command line, arrays, Slicer and label app alike.

DICOM goes from stored to shown values by Modality LUT or rescale (PS3.3 C.11.1), then VOI LUT or window (C.11.2), then
the polarity of the presentation (C.11.6). What to do where a file states several windows, one that does not fit, or
none, the standard leaves to the display; our choice, in this order:

1. the window that the user asks for;
2. the first item of the VOI LUT Sequence;
3. the first usable window, with its function (LINEAR, LINEAR_EXACT, SIGMOID);
4. values of at most 8 bits: their full range;
5. percentiles of the pixels, without padding and far outliers.

A table or window of the file that clips 95 % of the pixels or more, or shows the bulk of them in less than a tenth of
the grey range, does not belong to them: it is passed over, and that is said; in objects whose
frames differ (enhanced XA), when it fits neither the sampled frames nor its own. Arrays of one frame are (X, Y), or
(samples, X, Y) as they are stored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError
from .transfer import AS_STORED, LookupTable, Ramp, Rescale, Transfer, window

__all__ = [
    "USELESS",
    "Attenuation",
    "Display",
    "GreyRule",
    "attenuation",
    "choose_rule",
    "luminance",
    "percentile_range",
]

USELESS = 0.95
"""Share of clipped pixels from which a window is taken for one of other pixels. Our choice."""

FLAT = 0.1
"""Share of the grey range: a window that shows the bulk of the pixels in less is one of other pixels. Our choice."""

PERCENTILES = (0.1, 99.9)
CORE = (1.5, 98.5)
"""Percentiles between which the bulk of the values lies; what is further from it than its own width is an outlier."""

_SAMPLE = 2_000_000  # values that percentiles are taken from; more change nothing but the time


@dataclass(frozen=True)
class Display:
    """What a file states about the way of one frame from stored to shown values.

    Attributes:
        modality: stored values to those that windows are for.
        choices: the file's VOI LUT and usable windows, best first, each with its name in words.
        bits: that the values can use, where the full range is meant to be seen; 0 where it is not known.
        inverted: high values are dark.
        padding: lowest and highest stored value that is no image, both included (PS3.3 C.7.5.1.1.2); None for none.
        relationship: Pixel Intensity Relationship (PS3.3 C.8.7.1.1.2): LIN, LOG, DISP, or what a vendor has put there.
        falls_with_intensity: higher values after ``modality`` mean less X-ray intensity: by the Pixel Intensity
            Relationship Sign, which is of the stored values, or, where none is stated, because high values are dark.
    """

    modality: Rescale | LookupTable = AS_STORED
    choices: tuple[tuple[Transfer, str], ...] = ()
    bits: int = 0
    inverted: bool = False
    padding: tuple[int, int] | None = None
    relationship: str = ""
    falls_with_intensity: bool = False


@dataclass(frozen=True)
class GreyRule:
    """How the stored values of a frame become grey.

    Attributes:
        display: what the file states.
        transfer: values after the Modality LUT to [0, 1].
        name: in words, where that is from.
    """

    display: Display
    transfer: Transfer
    name: str

    def __call__(self, stored: np.ndarray) -> np.ndarray:
        """Shown grey, float32 (X, Y) in [0, 1], vessels dark, of the stored values (samples, X, Y) of a frame."""
        grey = self.transfer(_values(stored, self.display))
        return 1 - grey if self.display.inverted else grey

    def describe(self) -> dict[str, Any]:
        """JSON-ready: ``rule`` (in words), ``low`` and ``high`` (values that become 0 and 1), ``function``,
        ``inverted``."""
        return {"rule": self.name, **self.transfer.describe(), "inverted": self.display.inverted}


def luminance(stored: np.ndarray) -> np.ndarray:
    """Grey (X, Y) of 1 to 4 samples (samples, X, Y): ITU-R BT.601 for RGB; alpha is left out."""
    if stored.shape[0] < 3:
        return stored[0]
    return np.tensordot(np.array([0.299, 0.587, 0.114], np.float32), stored[:3].astype(np.float32), axes=1)


def _values(stored: np.ndarray, display: Display) -> np.ndarray:
    return display.modality(luminance(stored))


def percentile_range(values: np.ndarray) -> tuple[float, float]:
    """Values that become 0 and 1: the 0.1 and 99.9 percentiles, after what is far from the bulk is left out.

    Far is more than the width of the bulk (percentiles 1.5 to 98.5) away from it: up to 1.5 % of the pixels at either
    end, such as burned-in text, and any number below half of them that have the largest or smallest value, such as a
    banner, or padding that the header does not declare. Our choice.

    Args:
        values: any shape, finite; not empty.

    Returns:
        (low, high), low < high.
    """
    flat = values.reshape(-1)
    flat = flat[:: max(1, flat.size // _SAMPLE)]
    kept = flat
    for extreme in (flat.max(), flat.min()):  # one value, repeated: a banner, a frame, padding
        others = kept[kept != extreme]
        if others.size > kept.size / 2 and not _near(others, extreme):
            kept = others
    kept = kept[_near(kept, kept)]
    low, high = np.percentile(kept, PERCENTILES)
    if high <= low:
        low, high = float(flat.min()), float(flat.max())
    return (float(low), float(high)) if high > low else (float(low), float(low) + max(1.0, abs(float(low)) * 1e-6))


def _near(bulk: np.ndarray, values: np.ndarray | np.generic) -> Any:
    left, right = np.percentile(bulk, CORE)
    width = right - left or np.inf  # of a single value nothing can be far
    return (values >= left - width) & (values <= right + width)


def choose_rule(
    display: Display,
    sample: Callable[[], Sequence[tuple[np.ndarray, Display]]],
    wanted: tuple[float, float] | None = None,
    own: Callable[[], np.ndarray] | None = None,
) -> tuple[GreyRule, list[str]]:
    """The rule of a file, for all its frames with this display.

    Args:
        display: what the file states.
        sample: gives stored values (samples, X, Y) of a few frames, each with what the file states for it: frames of an
            enhanced object may have a rescale of their own. Called only when pixels are needed to choose.
        wanted: centre and width (LINEAR) of the user's window; it is taken whatever it clips.
        own: gives stored values of the frame that the display is of. Called only for a window of the file that does not
            fit the sample, when frames differ: it may be meant for this frame alone. None where all are alike.

    Returns:
        the rule, and a line for each of the file's windows that does not fit.

    Raises:
        DataError: for a window of the user that cannot be used.
    """
    if wanted is not None:
        asked = window(*wanted)
        if asked is None:
            raise DataError(f"window is {wanted[0]:g} {wanted[1]:g}; expected a centre and a width above 1.")
        return GreyRule(display, asked, "window of the user"), []
    warnings: list[str] = []
    values: np.ndarray | None = None
    for transfer, name in display.choices:
        values = _sampled(sample()) if values is None else values
        fault = _misfit(transfer, values)
        if fault and own is not None and any(other != display for _, other in sample()):
            with contextlib.suppress(DataError):  # a damaged frame is refused when it is shown, not here
                fault = _misfit(transfer, _sampled([(own(), display)])) and fault
        if not fault:
            return GreyRule(display, transfer, name), warnings
        warnings.append(f"{name} {fault} and is not used.")
    if 0 < display.bits <= 8:
        return GreyRule(display, Ramp(0.0, float(2**display.bits - 1)), f"full range of {display.bits} bits"), warnings
    values = _sampled(sample()) if values is None else values
    return GreyRule(display, Ramp(*percentile_range(values)), "percentiles"), warnings


def _misfit(transfer: Transfer, values: np.ndarray) -> str:
    """What is wrong with a table or window for these values after the Modality LUT; empty when it fits them."""
    clipped = float(transfer.clips(values).mean())
    if clipped >= USELESS:
        return f"clips {100 * clipped:.1f} % of the pixels"
    share = float(np.ptp(np.percentile(transfer(values), CORE)))
    return "" if share >= FLAT else f"shows the pixels in {100 * share:.1f} % of the grey range"


def _sampled(frames: Sequence[tuple[np.ndarray, Display]]) -> np.ndarray:
    """Values after each frame's own Modality LUT, of pixels that are no padding; of all if there are no others."""
    step = max(1, sum(frame[0].size for frame, _ in frames) // _SAMPLE)
    stored = [luminance(frame).reshape(-1)[::step] for frame, _ in frames]
    displays = [display for _, display in frames]
    kept = [_unpadded(part, display) for part, display in zip(stored, displays, strict=True)]
    used = kept if any(part.size for part in kept) else stored
    return np.concatenate([display.modality(part) for part, display in zip(used, displays, strict=True)])


def _unpadded(stored: np.ndarray, display: Display) -> np.ndarray:
    if display.padding is None:
        return stored
    low, high = display.padding
    return stored[(stored < low) | (stored > high)]


@dataclass(frozen=True)
class Attenuation:
    """What measurements of width and density are taken from.

    Attributes:
        values: float32 (X, Y), high where much was absorbed.
        proportional: ``values`` are a constant times the thickness of the absorber, plus a constant; else they are the
            darkness of the shown grey, whose relation to the thickness nobody has stated.
        note: where they are from, one sentence.
    """

    values: np.ndarray
    proportional: bool
    note: str


def attenuation(stored: np.ndarray, rule: GreyRule) -> Attenuation:
    """Attenuation of a frame by its Pixel Intensity Relationship (PS3.3 C.8.7.1.1.2), never from windowed pixels.

    Beer and Lambert: the intensity falls with the exponential of the thickness. LIN pixels are proportional to the
    intensity, so that minus their logarithm is wanted; LOG pixels are its logarithm already.

    Args:
        stored: (samples, X, Y) of the frame.
        rule: of the file.
    """
    display = rule.display
    relationship = display.relationship.upper()
    values = _values(stored, display).astype(np.float32, copy=False)
    if relationship not in ("LIN", "LOG") or stored.shape[0] > 2:
        said = f"Pixel Intensity Relationship is {relationship}" if relationship else "none is stated"
        return Attenuation(1 - rule(stored), False, f"Darkness of the shown grey: {said}.")
    known, note = True, f"From {relationship} pixels."
    if relationship == "LOG":
        logarithm = values
    else:
        if display.falls_with_intensity:
            # Which value stands for no intensity is stated nowhere; as a file stores no more than that, the largest
            # one is next to it. The logarithm hangs on it.
            values = values.max() - values
            known, note = False, "From LIN pixels that fall with the intensity, whose value for none is not stated."
        # One step of a 16-bit scale keeps an unexposed pixel from becoming infinite.
        logarithm = np.log(np.maximum(values, max(float(values.max()), 1e-30) / 65535))
    rises = display.falls_with_intensity and relationship == "LOG"
    result = logarithm - logarithm.min() if rises else logarithm.max() - logarithm
    return Attenuation(result, known, note)
