"""Prepare a state for several lanes: images read once by all cores, synthetic negatives made once for all stages.

python experiments/accelerator/warm.py --data DATA --state STATE UNIT...
"""

from __future__ import annotations

import argparse
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from monai.bundle import ConfigParser
from monai.transforms import Compose

from casr_net.evaluation.plan import load_plan
from casr_net.evaluation.stages import stage_config
from casr_net.files.atomic import write_atomically
from casr_net.inference.bundle import bundle_root
from casr_net.synthetic.negative import make_negative
from casr_net.training.memory import ResidentCases
from casr_net.training.negatives import load_negatives, negative_seed


def _negative(job: tuple[Path, int, int, int]) -> None:
    folder, index, seed, size = job
    import cv2

    data = cv2.imencode(".png", make_negative(negative_seed(seed, index), size).image)[1]
    target = folder / f"negative_{seed}_{size}_{index:04}.png"
    write_atomically(target, lambda path: path.write_bytes(data.tobytes()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", type=Path, default=bundle_root().parent / "experiments" / "plan.json")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("units", nargs="+")
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    units = {unit.name: unit for unit in load_plan(options.plan)}
    made: dict[tuple[int, int, int], Path] = {}
    widest = None
    for name in options.units:
        for stage in units[name].run.stages:
            config = stage_config(units[name], stage, {})
            count, seed, size = config["negative_count"], config["seed"], config["network_size"]
            if stage.teacher is not None and widest is None:
                widest = config
            if not count:
                continue
            if (count, seed, size) not in made:
                folder = options.state / "negatives"
                folder.mkdir(parents=True, exist_ok=True)
                with ProcessPoolExecutor(cores) as pool:
                    list(pool.map(_negative, [(folder, index, seed, size) for index in range(count)]))
                load_negatives(folder, count, seed, size)
                made[count, seed, size] = folder
            target = options.state / name / stage.name / "negatives"
            shutil.copytree(made[count, seed, size], target, dirs_exist_ok=True)
    config = widest or stage_config(units[options.units[0]], units[options.units[0]].run.stages[0], {})
    paths = {"bundle_root": str(bundle_root()), "dataset_dir": str(options.data), "output_dir": str(options.state)}
    read = ConfigParser({**config, **paths, "exclude_folds": [], "negative_count": 0})
    cases = read.get_parsed_content("train#dataset#data")
    scale = Compose([*read.get_parsed_content("train#load"), *read.get_parsed_content("train#scale")])
    ResidentCases.read(cases, scale, config["network_size"], "cpu", options.state / "resident", cores)
    print(f"{len(cases)} cases read; negatives for {len(list(options.state.glob('*/*/negatives')))} stages.")


if __name__ == "__main__":
    main()
