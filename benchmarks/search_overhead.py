"""The cost of a search apart from training: ``python -m benchmarks.search_overhead``.

The default search, or the one that further flags describe, runs with 1 and with 2 trials at a time, each in its own
folder. The output is the share of the slots' time, after start-up, that was neither training nor evaluation:
(slots x wall - time inside training and evaluation) / (slots x wall). If a trial has several workers, they share a
slot.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from csg.messages.console import Console
from csg.parsing import parse_flags
from tune_spaces.search.options import SearchOptions
from tune_spaces.search.plan import plan_search
from tune_spaces.search.search import run_search


def measure(concurrency: int, flags: list[str]) -> None:
    """Run a search and print its cost."""
    with tempfile.TemporaryDirectory() as folder:
        given = ["--train.output", folder, "--concurrency", str(concurrency), *flags]
        search = plan_search(parse_flags(SearchOptions, given, prog="search_overhead", description=""), Console())
        with (Path(folder) / "console").open("w") as file:
            outcome = run_search(search, Console(file=file))
        events = search.journal.read_events()
    inside = sum(event.seconds for event in events)
    ended = sorted(event.time for event in events if event.kind == "ended")
    slots = concurrency * outcome.running_seconds
    idle = sum(ended[-1] - each for each in ended[-concurrency:])
    print(
        f"{concurrency:6d} {len(ended):8d} {outcome.startup_seconds:12.1f} {outcome.running_seconds:10.1f} "
        f"{100 * (slots - inside) / slots:12.1f} {100 * idle / slots:12.1f} {(slots - inside) / len(ended):14.2f}",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, nargs="+", default=(1, 2), help="trials at a time")
    arguments, flags = parser.parse_known_args()
    print(" slots   trials   start-up s     wall s   overhead %   idle end %      s a trial")
    for concurrency in arguments.slots:
        measure(concurrency, flags)


if __name__ == "__main__":
    main()
