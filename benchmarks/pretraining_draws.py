"""How far the weights ``mnist`` move the bundled benchmark: ``python -m benchmarks.pretraining_draws``.

They are trained once a machine, from one seed, and every run on it starts from them: their draw is no part of what
seeds vary. Here they are trained from several seeds, and under each the frozen encoder, source only and CSG. Another
CPU may give other weights from the same seed, where it rounds otherwise.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from unittest.mock import patch

import torch

from csg.data import load_pair
from csg.models import handwriting
from csg.parsing import build_config
from csg.training.run import Run

METHODS = {"oracle_imagenet": "frozen encoder", "source_only": "source only", "csg": "CSG"}
ACCURACY = "target/test/accuracy"


def train_weights(seed: int, path: Path) -> None:
    """Train the weights from another seed than the package's."""
    with patch.object(handwriting, "SEED", seed):
        torch.save(handwriting.train("mnist").state_dict(), path)


def measure(method: str, weights: Path, folder: Path, seed: int) -> float:
    """Train a method from these weights and return its real accuracy, %."""
    settings = {"method.name": method, "model.weights": str(weights), "train.seed": seed, "train.threads": 1}
    config = build_config(settings | {"train.output": str(folder / "runs"), "data.cache": str(folder / "cache")})
    run = Run(config, load_pair(config.data)).create()
    for _ in run.train():
        pass
    run.finish()
    return 100 * run.record.final[ACCURACY]


def main() -> None:
    """Measure and print a row a draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| pre-training seed | {' | '.join(METHODS.values())} | CSG minus source only |")
    print(f"| ---: |{' ---: |' * (len(METHODS) + 1)}")
    with tempfile.TemporaryDirectory() as name:
        for draw in range(handwriting.SEED, handwriting.SEED + arguments.draws):
            weights = Path(name) / f"mnist-{draw}.pt"
            train_weights(draw, weights)
            found = {
                method: [measure(method, weights, Path(name), seed) for seed in range(arguments.seeds)]
                for method in METHODS
            }
            means = {method: statistics.fmean(values) for method, values in found.items()}
            cells = " | ".join(f"{mean:.1f}" for mean in means.values())
            print(f"| {draw} | {cells} | {means['csg'] - means['source_only']:+.1f} |", flush=True)


if __name__ == "__main__":
    main()
