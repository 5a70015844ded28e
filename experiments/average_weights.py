"""Mean of the weights of two networks of one lineage.

python experiments/average_weights.py FIRST SECOND --output FILE [--share 0.5]

A network that went on training and the one that it began from are joined by their mean, which is often as good as the
one on what the other forgot, and keeps most of what was gained (Wortsman et al., arXiv 2109.01903).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from casr_net.errors import DataError
from casr_net.network.weights import read_state_dict


def mean(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """``1 - share`` of the first and ``share`` of the second, float32; counters are the second's.

    Raises:
        DataError: when they are of different networks.
    """
    if {name: value.shape for name, value in first.items()} != {name: value.shape for name, value in second.items()}:
        raise DataError("the weights are of different networks; one must have been trained from the other.")
    return {
        name: torch.lerp(first[name].float(), value.float(), share) if value.is_floating_point() else value
        for name, value in second.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the second, 0 to 1")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.save(mean(read_state_dict(options.first), read_state_dict(options.second), options.share), options.output)


if __name__ == "__main__":
    main()
