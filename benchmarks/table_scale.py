"""Time and memory of all tables over a store of many runs: ``python -m benchmarks.table_scale``.

The store is a real one, filled with rows that are copies of the tests' committed runs under other seeds and with other
figures; the tables are made in a process of their own, by the script that users call.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from csg.tracking import Tracker
from csg.tracking.reading import PARENT, as_text

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "analysis" / "golden_runs" / "runs.jsonl"


def fill(store: Path, runs: int) -> int:
    """Write about ``runs`` runs into a new SQLite store: as many whole ablations as that makes, with their parents.

    Returns:
        How many there are.
    """
    tracker = Tracker(f"sqlite:///{store}", "glyphs")
    templates = [json.loads(line) for line in GOLDEN.read_text().splitlines()]
    parent = next(run for run in templates if run["tags"].get("csg.kind") == "ablation")
    children = [run for run in templates if run["tags"].get(PARENT) == parent["run_id"]]
    cells = {run["tags"]["csg.cell"]: run for run in children}
    seeds, written, rng = 20, 0, random.Random(0)  # noqa: S311 (no secret)
    with sqlite3.connect(store) as database:
        while written < runs:
            key = f"components-{written:08d}"
            made = {**parent, "tags": {**parent["tags"], "csg.ablation": key}}
            parent_id = _insert(database, tracker.experiment_id, made)
            written += 1
            for cell, run in cells.items():
                for seed in range(seeds):
                    tags = {PARENT: parent_id, "csg.cell": cell, "seed": str(seed), "csg.run": uuid.uuid4().hex}
                    shift = rng.gauss(0, 0.02)
                    made = {
                        "name": run["name"],
                        "tags": {**run["tags"], **tags},
                        "params": {**run["params"], "train.seed": seed},
                        "metrics": {name: value + shift for name, value in run["metrics"].items()},
                    }
                    _insert(database, tracker.experiment_id, made)
                    written += 1
    return written


def _insert(database: sqlite3.Connection, experiment_id: str, run: dict[str, Any]) -> str:
    run_id = uuid.uuid4().hex
    now = int(time.time() * 1000)
    database.execute(
        "INSERT INTO runs (run_uuid, name, user_id, source_type, status, start_time, end_time, lifecycle_stage,"
        " experiment_id, artifact_uri) VALUES (?, ?, '', 'UNKNOWN', 'FINISHED', ?, ?, 'active', ?, ?)",
        (run_id, run["name"], now, now, int(experiment_id), f"file:///nowhere/{run_id}"),
    )
    database.executemany(
        "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
        [(name, value, run_id) for name, value in run["tags"].items()],
    )
    database.executemany(
        "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
        [(name, as_text(value), run_id) for name, value in run["params"].items()],
    )
    database.executemany(
        "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, 2, 0, ?)",
        [(name, value, now, run_id) for name, value in run["metrics"].items()],
    )
    return run_id


def main() -> None:
    """Fill a store, make the tables, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "mlflow.db"
        count = fill(store, arguments.runs)
        script = [sys.executable, str(ROOT / "analysis" / "paper_tables.py"), "--tracking-uri", f"sqlite:///{store}"]
        began = time.perf_counter()
        subprocess.run([*script, "--out", f"{folder}/tables"], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        tables = len(list((Path(folder) / "tables").glob("*.md")))
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
        print(f"{count:,} runs, {tables} tables: {seconds:.1f} s, peak memory {peak:.2f} GB")


if __name__ == "__main__":
    main()
