"""The time and memory of all tables over a store of many runs: ``python -m benchmarks.table_scale``.

The store is a real one, with ablations in one half and searches in the other. Its runs are copies of the tests'
committed runs, with other seeds, settings and figures. Their artifacts are the committed ones. The script that users
call makes the tables, in its own process.
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
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from csg.storage.address import make_sqlite_address
from csg.tracking import Tracker
from csg.tracking.reading import format_setting
from csg.tracking.tags import Tag

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "analysis" / "golden_runs"
SEEDS = 20
TRIALS = 100
SEARCHED = ("method.temperature", "method.stage3.weight", "method.stage4.weight", "optim.lr")
Run = dict[str, Any]


def fill(store: Path, runs: int) -> int:
    """Write whole ablations and searches into a new SQLite store until it has at least ``runs`` runs.

    Returns:
        The number of runs, including parents.
    """
    tracker = Tracker(make_sqlite_address(store), "glyphs")
    templates = [json.loads(line) for line in (GOLDEN / "runs.jsonl").read_text().splitlines()]
    rng = random.Random(0)  # noqa: S311 (no secret)
    written = 0
    with sqlite3.connect(store) as database:
        while written < runs:
            for made in (_make_ablation(templates, rng), _make_search(templates, rng)):
                family = list(made)
                _insert(database, tracker.experiment_id, family)
                written += len(family)
    return written


def _make_ablation(templates: list[Run], rng: random.Random) -> Iterator[Run]:
    """Yield a parent, and a run for each cell and seed."""
    parent, children = _find_family(templates, "ablation")
    yield _copy_parent(parent, Tag.ABLATION)
    cells = {run["tags"][Tag.CELL]: run for run in children}
    for run in cells.values():
        for seed in range(SEEDS):
            yield _copy(run, rng, {"train.seed": seed}, seed=str(seed))


def _make_search(templates: list[Run], rng: random.Random) -> Iterator[Run]:
    """Yield a parent and its trials, each with its own settings."""
    parent, children = _find_family(templates, "search")
    yield _copy_parent(parent, Tag.SEARCH)
    finished = [run for run in children if run["status"] == "finished"]
    for number in range(TRIALS):
        settings = {name: 10 ** rng.uniform(-3, 0) for name in SEARCHED} if number > 1 else {}
        role = ("source_only", "default")[number] if number < 2 else "suggested"
        yield _copy(finished[min(number, 1)], rng, settings, **{Tag.TRIAL: str(number), Tag.ROLE: role})


def _find_family(templates: list[Run], kind: str) -> tuple[Run, list[Run]]:
    parent = next(run for run in templates if run["tags"].get(Tag.KIND) == kind)
    return parent, [run for run in templates if run["tags"].get(Tag.PARENT) == parent["run_id"]]


def _copy_parent(run: Run, key: str) -> Run:
    return {**run, "tags": {**run["tags"], key: f"{run['tags'][key]}-{uuid.uuid4().hex[:8]}"}}


def _copy(run: Run, rng: random.Random, settings: Mapping[str, Any], **tags: str) -> Run:
    shift = rng.gauss(0, 0.02)
    return {
        **run,
        "tags": {**run["tags"], **tags, Tag.RUN: uuid.uuid4().hex},
        "params": {**run["params"], **settings},
        "metrics": {
            name: value if name.endswith("/images") else value + shift for name, value in run["metrics"].items()
        },
    }


@lru_cache(maxsize=10_000, typed=True)
def _write_text(value: Any) -> str:
    return format_setting(value)


def _insert(database: sqlite3.Connection, experiment_id: str, family: list[Run]) -> None:
    """Write a parent, which comes first, and its children. Their artifacts are those of the committed runs."""
    now = int(time.time() * 1000)
    ids = [uuid.uuid4().hex for _ in family]
    for run in family[1:]:
        run["tags"][Tag.PARENT] = ids[0]
    named = list(zip(ids, family, strict=True))
    database.executemany(
        "INSERT INTO runs (run_uuid, name, user_id, source_type, status, start_time, end_time, lifecycle_stage,"
        " experiment_id, artifact_uri) VALUES (?, ?, '', 'UNKNOWN', 'FINISHED', ?, ?, 'active', ?, ?)",
        [(i, run["name"], now, now, int(experiment_id), (GOLDEN / run["run_id"]).as_uri()) for i, run in named],
    )
    database.executemany(
        "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
        [(name, value, i) for i, run in named for name, value in run["tags"].items()],
    )
    database.executemany(
        "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
        [(name, _write_text(value), i) for i, run in named for name, value in run["params"].items()],
    )
    database.executemany(
        "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, 2, 0, ?)",
        [(name, value, now, i) for i, run in named for name, value in run["metrics"].items()],
    )


def main() -> None:
    """Fill a store, make the tables, and print time and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "mlflow.db"
        count = fill(store, arguments.runs)
        script = [
            sys.executable,
            str(ROOT / "analysis" / "paper_tables.py"),
            "--tracking-uri",
            make_sqlite_address(store),
        ]
        began = time.perf_counter()
        subprocess.run([*script, "--out", f"{folder}/tables"], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        tables = len(list((Path(folder) / "tables").glob("*.md")))
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
        print(f"{count:,} runs, {tables} tables: {seconds:.1f} s, peak memory {peak:.2f} GB")


if __name__ == "__main__":
    main()
