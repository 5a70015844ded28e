"""Turn the weights of a training run into the half-precision file that ships.

python experiments/pack_weights.py runs/fold0/model.pt monai_bundle/models/model.pt
"""

from __future__ import annotations

import argparse
from pathlib import Path

from casr_net.inference.bundle import load_parser
from casr_net.network.weights import load_weights, save_weights, sha256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--config", nargs="*", default=[], help="overlay that names another network, such as paper")
    options = parser.parse_args()
    network = load_weights(load_parser(options.config).get_parsed_content("network_def"), options.source)
    save_weights(network, options.target)
    print(f"{options.target}: {options.target.stat().st_size / 1e6:.1f} MB, sha256 {sha256(options.target)}")


if __name__ == "__main__":
    main()
