"""Stage 3 as MONAI map transforms."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_tensor

from ..preprocessing.base import as_numpy, like
from .contours import RefinementParameters, refine
from .probability import probability

__all__ = ["Probabilityd", "RefineVesselsd"]


class Probabilityd(MapTransform):
    """Turn logits into probabilities, float32, by :func:`casr_net.refinement.probability`.

    MONAI's ``Activationsd`` with ``sigmoid`` to the last digit of single precision, but the same without torch.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            # A plain tensor, as a batch's part is, gets metadata: without them Invertd leaves it as it is.
            logits = convert_to_tensor(result[key], track_meta=True)
            result[key] = like(probability(as_numpy(logits)), logits)
        return result


class RefineVesselsd(MapTransform):
    """Turn probability maps into refined vessel masks by :func:`refine`.

    (1, X, Y) in [0, 1] to float32 (1, X, Y) of 0 and 1, with the map's metadata.

    Args:
        keys: probability maps to change.
        enabled: False applies the threshold only.
        probability_key: entry of the data dictionary that keeps the unrefined map; None keeps none. With several keys,
            each has its own: the entry's name is ``"{key}_{probability_key}"``.
        parameters: any field of :class:`RefinementParameters`, by its name.

    Raises:
        TypeError: for an unknown parameter.
        ValueError: for a parameter outside its range, or a map that is not (1, X, Y) or holds NaN.
    """

    def __init__(
        self,
        keys: KeysCollection,
        enabled: bool = True,
        probability_key: str | None = "probability",
        allow_missing_keys: bool = False,
        **parameters: Any,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.probability_key = probability_key
        chosen = RefinementParameters(**parameters)
        self.parameters = chosen if enabled else chosen.threshold_only()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key]
            if image.ndim != 3 or image.shape[0] != 1:
                raise ValueError(f"the probability map has shape {tuple(image.shape)}; it must be (1, X, Y).")
            mask = refine(as_numpy(image)[0], self.parameters)
            if self.probability_key is not None:
                name = self.probability_key if len(self.keys) == 1 else f"{key}_{self.probability_key}"
                result[name] = image
            result[key] = like(mask[None].astype(np.float32), image)
        return result
