"""A search that scores by trainings without each source in turn: real Ray, a real store, a real kill."""

from __future__ import annotations

import json
import signal
import statistics
from pathlib import Path

import pytest

from tests.few_images import few_images
from tests.published_trees import write_image
from tests.tune_spaces.search.test_search import (
    ROOT,
    command,
    everything,
    finished_records,
    interrupted,
    journal,
    reported,
    run,
    search,
    tracked,
    what_happened,
)

SCORE = "selected/held_out/mean_class_accuracy"


def flags(folder: Path) -> list[str]:
    """Return the flags of a search over two sources; the second one is written."""
    renders = few_images()[3]
    for label, name in enumerate(("car", "street sign", "vélo")):
        for number in range(40):
            write_image(folder / "scans" / name / f"scan {number}.png", label, number, real=False)
    return ["--data.source", renders, str(folder / "scans"), "--protocol", "held_out_source", "--num-samples", "3"]


def find_mean(output: Path, method: str, figure: str) -> float:
    """Return the mean of a final figure over a method's trainings without each source, under the first seed."""
    records = [json.loads(path.read_text()) for path in output.rglob("record.json")]
    wanted = {"method.name": method, "train.seed": 0}
    chosen = [r for r in records if r["config"]["data.held_out"] and wanted.items() <= r["config"].items()]
    assert sorted(record["config"]["data.held_out"] for record in chosen) == ["renders", "scans"]
    return statistics.fmean(record["final"][figure] for record in chosen)


@pytest.mark.slow
def test_a_search_by_held_out_sources_scores_by_their_mean_shares_trainings_and_resumes(tmp_path: Path) -> None:
    given = flags(tmp_path)
    output = tmp_path / "undisturbed" / "runs"
    done = search(output, *given, "--confirm-top", "1", "--seeds", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "A trial is 2 trainings, each without one source (renders, scans), in all 1.0 times the steps" in done.stdout
    assert "at most 6 for 3 trials, and at most 9 to confirm 3 configurations under 1 seed" in done.stdout
    assert "(protocol held_out_source, 0 target queries)" in done.stdout
    assert "Verdict" in done.stdout and "was not measured" not in done.stdout
    trials = tracked(output)[2]
    assert trials[0].metrics["selection/score"] == find_mean(output, "source_only", SCORE)
    kept = finished_records(output)
    again = run([*command(output, *given), "--experiment", "another"], output.parent)
    assert again.returncode == 0, again.stdout + again.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept == finished_records(output), "trained again"
    other = tmp_path / "killed" / "runs"

    def has_begun() -> bool:
        return bool([*other.rglob("journal.jsonl")]) and reported(1)(journal(other).events())

    assert interrupted(command(other, *given), other.parent, has_begun, signal.SIGKILL) == -signal.SIGKILL
    resumed = search(other, *given, "--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert what_happened(other) == what_happened(output)
    assert [everything(each) for each in tracked(other)[2]] == [everything(each) for each in trials]


@pytest.mark.slow
def test_an_ablation_shows_what_its_cells_do_on_held_out_sources(tmp_path: Path) -> None:
    design = tmp_path / "design.py"
    design.write_text(
        "from tune_spaces.designs.design import Cell, Design\n"
        'PAIR = Design(title="Two", base="one", cells=(Cell("one", {"method.name": "source_only"}),\n'
        '    Cell("two", {"method.name": "weight_l2"})))\n'
    )
    output = tmp_path / "runs"
    searching = command(output)
    settings = searching[2 : searching.index("--num-samples")]
    script = [searching[0], str(ROOT / "tune_spaces" / "visda_ablation.py"), "--design", f"{design}:PAIR"]
    given = [*script, *settings, *flags(tmp_path)[:5], "--seeds", "1", "--train.output", str(output)]
    done = run(given, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "one without renders" in done.stdout and "held-out source accuracy %" in done.stdout
    (table,) = output.rglob("ablation_PAIR.provenance.json")
    cells = json.loads(table.read_text())["cells"]
    (shown,) = cells["one:held-out source accuracy %"]["values"].values()
    assert shown == find_mean(output, "source_only", "selected/held_out/accuracy")
