"""Ablations: a declared design, run once whatever happens, and the table that comes of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.method_table import method_table, spread
from csg.config import ConfigError, flatten
from csg.parsing import config_from_flat
from csg.tracking import TrackedRun, Tracker, default_tracking_uri
from tune_spaces import visda_ablation
from tune_spaces.ablation import cells_of
from tune_spaces.design import Cell, Design
from tune_spaces.designs import DESIGNS, design_named

ROOT = Path(__file__).parents[1]
DESIGN = """
from tune_spaces.design import Cell, Design
PAIR = Design(
    title="Two methods",
    base="source only",
    cells=(Cell("source only", {"method.name": "source_only"}), Cell("weights", {"method.name": "weight_l2"})),
)
"""
SMALL = [
    *("--data.source-images", "40", "--data.image-size", "32", "--train.epochs", "2", "--train.batch-size", "8"),
    *("--train.checkpoint-minutes", "0", "--concurrency", "1"),
]


def command(folder: Path, *flags: str) -> list[str]:
    design = folder / "design.py"
    design.write_text(DESIGN)
    script = str(ROOT / "tune_spaces" / "visda_ablation.py")
    output = str(folder / "runs")
    return [sys.executable, script, "--design", f"{design}:PAIR", *SMALL, "--train.output", output, *flags]


def run(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, *flags), capture_output=True, text=True, cwd=folder, check=False)


def tracked(folder: Path) -> list[TrackedRun]:
    tracker = Tracker(default_tracking_uri(str(folder / "runs")), "glyphs")
    parent = tracker.find({"csg.kind": "ablation"})
    assert parent is not None
    return tracker.children(parent)


@pytest.mark.slow
def test_an_ablation_trains_every_cell_under_the_same_seeds_once(tmp_path: Path) -> None:
    planned = run(tmp_path, "--seeds", "2", "--plan")
    assert planned.returncode == 0 and planned.stdout.count("missing") == 4
    done = run(tmp_path, "--seeds", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4/4" in done.stdout and "Two methods, glyphs" in done.stdout
    runs = tracked(tmp_path)
    assert [(run.tags["csg.cell"], run.params["train.seed"], run.status) for run in runs] == [
        (cell, seed, "finished") for seed in (0, 1) for cell in ("source only", "weights")
    ]
    records = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")}
    more = run(tmp_path, "--seeds", "3")
    assert more.returncode == 0 and "4 of 6 runs are on record" in more.stdout
    assert {path: path.stat().st_mtime_ns for path in records} == records
    assert len(tracked(tmp_path)) == 6
    (table,) = (tmp_path / "runs" / "ablations").rglob("PAIR.csv")
    rows = table.read_text().splitlines()
    assert rows[0].startswith("method,n,real accuracy %") and [row.split(",")[1] for row in rows[1:]] == ["3", "3"]


@pytest.mark.slow
def test_an_interrupted_ablation_goes_on(tmp_path: Path) -> None:
    long_enough = ["--seeds", "1", "--train.epochs", "8"]
    argv = command(tmp_path, *long_enough)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        while not list(tmp_path.rglob("checkpoint.pt")):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)  # a shell's background ignores SIGINT
        assert process.stdout is not None
        said = process.stdout.read()
        assert process.wait() == 130, said
    assert "The same command goes on with it" in said
    assert "interrupted" in {run.status for run in tracked(tmp_path)}
    assert run(tmp_path, *long_enough).returncode == 0
    assert [run.status for run in tracked(tmp_path)] == ["finished", "finished"]


def test_every_cell_of_every_shipped_design_is_a_configuration_of_its_own() -> None:
    for design in DESIGNS.values():
        cells = list(cells_of(design, flatten(config_from_flat({})), seeds=2))
        assert len(cells) == 2 * len(design.cells)
        assert len({str(config) for _, config in cells}) == len(cells)
        assert {config.train.seed for _, config in cells} == {0, 1}


def test_a_design_needs_distinct_names_and_a_base_among_them() -> None:
    cell = Cell("one", {})
    with pytest.raises(ConfigError, match="expected cells of different names"):
        Design(title="", base="one", cells=(cell, cell))
    with pytest.raises(ConfigError, match="'two' among them"):
        Design(title="", base="two", cells=(cell,))
    with pytest.raises(ConfigError, match="--design: expected one of rivals"):
        design_named("no such")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--method.name", "csg"], "--method.name: this design sets it cell by cell"),
        (["--seeds", "0"], "--seeds: expected at least 1, found 0"),
        (["--design", "nowhere.py:X"], "--design: expected a Python file, found nothing"),
    ],
)
def test_unusable_flags_are_refused_before_anything_starts(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert visda_ablation.main(flags) == 2
    assert message in capsys.readouterr().err


def made_up_run(cell: str, seed: int, accuracy: float, *, status: str = "finished", energy: float = 0.1) -> TrackedRun:
    metrics = {
        "target/test/accuracy": accuracy,
        "target/test/mean_class_accuracy": accuracy,
        "source/val/accuracy": 0.9,
    }
    metrics |= {"target/test/E0_mhe": energy, "train/seconds": 2.0, "target/test/images": 100.0}
    params = {"selection.protocol": "source", "selection.epoch": "last", "train.epochs": 3, "train.seed": seed}
    return TrackedRun(f"{cell}{seed}", cell, status, params, {"csg.cell": cell}, metrics, {})  # type: ignore[arg-type]


def test_the_table_has_means_and_sample_deviations_and_shows_what_is_missing() -> None:
    runs = [made_up_run("a", 0, 0.5), made_up_run("a", 1, 0.6), made_up_run("a", 2, 0.8), made_up_run("b", 0, 0.7)]
    runs += [made_up_run("b", 1, 0.1, status="failed"), made_up_run("d", 0, 0.4, energy=float("nan"))]
    table = method_table(runs, cells=["a", "b", "c", "d"], title="Four")
    assert table.csv() == (
        "method,n,real accuracy %,mean class %,source accuracy %,E_0 (mhe),s/epoch\n"
        "a,3,63.3 ± 15.3,63.3 ± 15.3,90.0 ± 0.0,0.100 ± 0.000,2.0 ± 0.0\n"
        "b,1,70.0,70.0,90.0,0.100,2.0\n"
        "c,0,-,-,-,-,-\n"
        "d,1,40.0,40.0,90.0,-,2.0\n"
    )
    assert "| a | 3 | 63.3 ± 15.3 |" in table.markdown()
    assert "Selection protocol: source (0 target queries)" in table.caption


def test_a_run_that_chose_its_epoch_on_the_target_counts_its_queries() -> None:
    run = made_up_run("a", 0, 0.5)
    run.params.update({"selection.protocol": "paper", "selection.epoch": "best"})
    assert "paper (3 target queries)" in method_table([run], cells=["a"], title="").caption


def test_a_deviation_divides_by_n_minus_one() -> None:
    assert spread([1.0, 3.0], 2) == "2.00 ± 1.41"
