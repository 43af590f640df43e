"""The time and memory of a search's driver with many trials: ``python -m benchmarks.search_scale``.

Searches of 100 and of 1,000 trials that train nothing run through the production driver: Ray Tune, journal, sampler,
scheduler, MLflow and console. The output is, per trial, the wall time, the driver's CPU time without the sampler, the
sampler's CPU time (which grows, because TPE looks at all earlier trials), the growth of the driver's memory, and the
size of the search's files. The last line has the ratios of the larger search to the smaller.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ray import tune

from csg.messages.console import Console
from csg.parsing import parse_flags
from tune_spaces.execution.trial import EPOCH, SCORE, SECONDS
from tune_spaces.search.options import SearchOptions
from tune_spaces.search.plan import plan_search
from tune_spaces.search.search import run_search
from tune_spaces.search.searcher import JournaledOptunaSearch

EPOCHS = 3


class TrivialTrial(tune.Trainable):
    """A trial that trains nothing, and whose score depends on its learning rate."""

    def setup(self, config: dict[str, Any], *, base: dict[str, Any], program: str, data: dict[int, str]) -> None:
        """Start the first trial."""
        self.reset_config(config)

    def step(self) -> dict[str, Any]:
        """Report an epoch."""
        self._epoch += 1
        return {EPOCH: self._epoch, SCORE: self._rate * self._epoch, SECONDS: 0.0}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start the next trial."""
        self._epoch, self._rate = 0, float(new_config.get("optim.lr", 0.03))
        return True


def get_cpu_seconds() -> float:
    """Return this process's CPU time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def get_resident_megabytes() -> float:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def measure(trials: int) -> None:
    """Run a search of ``trials`` in this process and print five figures per trial."""
    sampling = 0.0
    suggest = JournaledOptunaSearch.suggest

    def suggest_timed(self: JournaledOptunaSearch, trial_id: str) -> Any:
        nonlocal sampling
        began = time.process_time()
        try:
            return suggest(self, trial_id)
        finally:
            sampling += time.process_time() - began

    JournaledOptunaSearch.suggest = suggest_timed  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        argv = ["--num-samples", str(trials), "--train.output", folder, "--train.epochs", str(EPOCHS)]
        search = plan_search(parse_flags(SearchOptions, argv, prog="search_scale", description=""), Console())
        quiet = Console(file=(Path(folder) / "console").open("w"))
        cpu, memory = get_cpu_seconds(), get_resident_megabytes()
        outcome = run_search(search, quiet, TrivialTrial)
        spent, grown = get_cpu_seconds() - cpu - sampling, get_resident_megabytes() - memory
        kilobytes = sum(path.stat().st_size for path in search.folder.local.rglob("*") if path.is_file()) / 1e3
    figures = (outcome.running_seconds, spent, sampling, grown * 1e3, kilobytes)
    print(*(f"{figure / trials:.6f}" for figure in figures))


def main() -> None:
    """Measure both sizes, each in its own process, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs=2, default=(100, 1000))
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return
    names = ("wall s", "driver CPU s", "sampler CPU s", "memory kB", "disk kB")
    print(f"{'per trial':<14}" + "".join(f"{name:>16}" for name in names))
    rows = []
    for trials in arguments.trials:
        command = [sys.executable, "-m", "benchmarks.search_scale", "--measure", str(trials)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append([float(word) for word in done.stdout.split()[-len(names) :]])
        print(f"{trials:<14,}" + "".join(f"{figure:16.4f}" for figure in rows[-1]), flush=True)
    ratios = [large / small if small > 0 else float("nan") for small, large in zip(*rows, strict=True)]
    print(f"{'ratio':<14}" + "".join(f"{ratio:16.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
