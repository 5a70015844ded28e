"""Handlers between backward pass and next batch: gradient clipping and the moving average of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..errors import UsageError

__all__ = ["ClipGradients", "UpdateAverage", "WeightAverage"]


class ClipGradients:
    """Trainer handler: bound the norm of all gradients together before the optimiser's step.

    Args:
        network: whose gradients.
        max_norm: bound of the L2 norm; 0 leaves them as they are.
    """

    def __init__(self, network: nn.Module, max_norm: float = 0.0) -> None:
        self.network, self.max_norm = network, max_norm

    def attach(self, engine: Engine) -> None:
        if self.max_norm > 0:
            engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        clip_grad_norm_(self.network.parameters(), self.max_norm)


class WeightAverage:
    """Exponential moving average of a network's weights and buffers (``AveragedModel`` of PyTorch).

    :class:`UpdateAverage` feeds it. The averaged network is the one to validate and to publish. Its first value is the
    network after the first step.

    Args:
        network: that is trained.
        decay: share of the old average that each step keeps, in [0, 1); an average over about 1 / (1 - decay) steps.
            0 keeps none: :attr:`network` is then the trained network itself.
        warm_up: let the decay of the first steps be lower, ``(1 + steps) / (10 + steps)``, as TensorFlow's
            ExponentialMovingAverage does. Without it, the weights of the first step keep the share ``decay ** steps``:
            0.17 of 900 steps at a decay of 0.998, which makes the average worse than the network that is trained
            (experiments/LOG.md). Off by default for the runs that began without it.

    Raises:
        UsageError: for a decay outside [0, 1).
    """

    def __init__(self, network: nn.Module, decay: float = 0.0, warm_up: bool = False) -> None:
        if not 0 <= decay < 1:
            raise UsageError(f"decay of the weight average is {decay}; it lies in [0, 1).")
        self.trained, self.decay, self.warm_up = network, decay, warm_up
        # The buffers too: the statistics of batch normalisation must fit the averaged weights.
        self.average = (
            AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True) if decay else None
        )

    @property
    def network(self) -> nn.Module:
        """What validation and publishing take."""
        return self.trained if self.average is None else self.average.module

    def update(self) -> None:
        """Take the trained network's present weights in."""
        if self.average is not None:
            if self.warm_up:
                steps = int(self.average.n_averaged)
                self.average.multi_avg_fn = get_ema_multi_avg_fn(min(self.decay, (1 + steps) / (10 + steps)))
            self.average.update_parameters(self.trained)

    def state_dict(self) -> dict[str, Any]:
        return {} if self.average is None else self.average.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self.average is not None:
            self.average.load_state_dict(state)


class UpdateAverage:
    """Trainer handler: update a :class:`WeightAverage` after each step."""

    def __init__(self, average: WeightAverage) -> None:
        self.average = average

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        self.average.update()
