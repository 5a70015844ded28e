"""What a command has to do, looked at before it has a plan and before torch and MONAI are imported."""

from __future__ import annotations

from ...files.inputs import Inputs, find_inputs
from ...files.results import ResultWriter
from ..run import may_have_work
from .order import Order

__all__ = ["FirstLook", "writer_of"]


class FirstLook:
    """Looks whether a command has anything to segment; without that, a plan for it is not worth its time.

    Attributes:
        inputs: what was found, so that it is looked for once; None before.
        work: what :meth:`finds_work` gave; None before.
    """

    def __init__(self) -> None:
        self.inputs: Inputs | None = None
        self.work: bool | None = None

    def finds_work(self, order: Order) -> bool:
        """Whether frames may be left to be segmented, see :func:`casr_net.inference.run.may_have_work`.

        Args:
            order: one that a plan may answer.

        Raises:
            CASRError: for inputs or outputs that the run refuses as a whole.
            OSError: when the weights cannot be read.
        """
        asked = order.asked
        self.inputs = find_inputs(asked["inputs"], order.window, asked["flat"], order.token_file)
        assert order.weights is not None
        self.work = may_have_work(self.inputs, writer_of(order), order.weights)
        return self.work


def writer_of(order: Order) -> ResultWriter:
    """What knows where the results of a command are; its window and weights are left out, so that it writes none."""
    asked = order.asked
    return ResultWriter(
        asked["output_dir"], asked["format"], asked["overlay"], asked["probability"], asked["overwrite"]
    )
