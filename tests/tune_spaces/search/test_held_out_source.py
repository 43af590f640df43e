"""A search that scores by trainings without each source in turn: real Ray, a real store, a real kill."""

from __future__ import annotations

import dataclasses
import io
import json
import signal
import statistics
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from analysis.runs.provenance import describe_runs, write_commands
from analysis.tables.protocol_table import make_protocol_table
from csg.data.pair import Pair
from csg.messages.console import Console
from csg.parsing import build_config
from csg.tracking import TrackedRun
from tests.few_images import few_images
from tests.made_up_pair import made_up_pair
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
from tune_spaces.search.summary import show_other_choices

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


def make_trial(number: int, *, held_out: float | None) -> TrackedRun:
    """Return a finished trial that is the better the higher its number."""
    real = 0.5 + number / 10
    metrics = {"target/test/accuracy": real, "target/test/mean_class_accuracy": real, "selection/score": real}
    metrics |= {"selected/source/val/mean_class_accuracy": 1 - real} | ({} if held_out is None else {SCORE: held_out})
    params = {"data.name": "glyphs", "method.name": "csg", "train.seed": 0}
    return TrackedRun(f"id{number}", f"{number:03d} csg", "finished", params, {"csg.run": str(number)}, metrics)


def say_other_choices(runs: list[TrackedRun], pair: Pair) -> str:
    console = Console(file=io.StringIO())
    search: Any = SimpleNamespace(config=build_config({}), score_metric="target/val/class_ami", pair=pair)
    outcome: Any = SimpleNamespace(parent="id", tracker=SimpleNamespace(read_children=lambda _: runs))
    show_other_choices(search, outcome, console)
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


def test_what_held_out_sources_would_have_chosen_is_said_where_it_was_measured_and_only_there() -> None:
    several = made_up_pair(sources=("a", "b"))
    measured = [make_trial(number, held_out=1 - number / 10) for number in range(3)]
    assert "cost +20.0 000 csg: source, held_out_source" in say_other_choices(measured, several)
    unmeasured = [*measured[:1], *(make_trial(number, held_out=None) for number in (1, 2))]
    said = say_other_choices(unmeasured, several)
    assert "cost +20.0 000 csg: source What held_out_source would have chosen was not measured: 2 trials of 3" in said
    assert "held_out_source" not in say_other_choices(unmeasured, made_up_pair())


def test_the_table_of_protocols_has_a_row_of_held_out_sources_where_any_run_was_measured_so() -> None:
    cells = make_protocol_table([make_trial(n, held_out=n / 10 if n else None) for n in range(4)]).cells
    assert list(cells.index) == ["source", "shifted", "held_out_source", "oracle"]
    row = cells.loc["held_out_source"]
    assert [row[name].text for name in ("looks at", "n", "rho")] == ["held_out", "3", "1.00"]
    assert "held_out_source" not in make_protocol_table([make_trial(n, held_out=None) for n in range(4)]).cells.index


def test_the_trainings_behind_a_mean_are_named() -> None:
    trial = dataclasses.replace(make_trial(0, held_out=0.5), tags={"csg.without": '{"a": "run a", "b b": "run b"}'})
    described = describe_runs([trial])["id0"]
    assert described["without"] == {"a": "run a", "b b": "run b"}
    commands = write_commands(described)
    assert [command.partition("--data.held_out ")[2].partition(" --")[0] for command in commands] == ["a", "'b b'"]
    assert "without" not in describe_runs([make_trial(0, held_out=None)])["id0"]


@pytest.mark.slow
def test_a_search_by_held_out_sources_scores_by_their_mean_shares_trainings_and_resumes(
    in_cluster: None, tmp_path: Path
) -> None:
    given = flags(tmp_path)
    output = tmp_path / "undisturbed" / "runs"
    done = search(output, *given, "--confirm-top", "1", "--seeds", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "A trial is 2 trainings, each without one source (renders, scans), in all 0.7 times the steps" in done.stdout
    assert "at most 6 for 3 trials, and at most 9 to confirm 3 configurations under 1 seed" in done.stdout
    assert "(protocol held_out_source, 0 target queries)" in done.stdout
    assert "Verdict" in done.stdout and "was not measured" not in done.stdout
    trials = tracked(output)[2]
    assert trials[0].metrics["selection/score"] == find_mean(output, "source_only", SCORE)
    kept, happened = {path: path.read_text() for path in finished_records(output)}, what_happened(output)
    fresh = [json.loads(text)["config"] for text in kept.values()]
    assert {config["train.seed"] for config in fresh if not config["data.held_out"]} == {1}, "one the search had not"
    again = run([*command(output, *given), "--experiment", "another"], output.parent)
    assert again.returncode == 0, again.stdout + again.stderr
    found = {path: path.read_text() for path in finished_records(output)}
    assert found == kept, "a training was repeated, which takes another time"
    other = tmp_path / "killed" / "runs"

    def has_begun() -> bool:
        return bool([*other.glob("searches/*/*/journal.jsonl")]) and reported(1)(journal(other).read_events())

    assert interrupted(command(other, *given), other.parent, has_begun, signal.SIGKILL) == -signal.SIGKILL
    resumed = search(other, *given, "--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert what_happened(other) == happened
    assert [everything(each) for each in tracked(other)[2]] == [everything(each) for each in trials]


@pytest.mark.slow
def test_an_ablation_shows_what_its_cells_do_on_held_out_sources(in_cluster: None, tmp_path: Path) -> None:
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
    (table,) = (output / "ablations").rglob("ablation_PAIR.provenance.json")
    cells = json.loads(table.read_text())["cells"]
    (shown,) = cells["one:held-out source accuracy %"]["values"].values()
    assert shown == find_mean(output, "source_only", "selected/held_out/accuracy")
