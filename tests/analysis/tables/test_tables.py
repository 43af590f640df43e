"""Tables from committed raw runs, text for text; and what becomes of runs that are missing, mixed, failed or NaN."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rich
from hypothesis import given
from hypothesis import strategies as st

from analysis import export_runs, paper_tables, trace
from analysis.latex import escape_latex
from analysis.page.tables import write_table
from analysis.runs.comparable import MixedRunsError, check_unmixed
from analysis.runs.run_table import AblationRuns, RunTable, read_runs
from analysis.runs.trials import rank_trials
from analysis.tables.cell_table import format_mean
from analysis.tables.comparisons import make_ablation_table, make_main_comparison
from analysis.tables.paper import make_tables
from analysis.tables.published import find_published_score
from analysis.tables.table import Entry, Table, arrange_cells, escape_markdown
from csg.messages.errors import UserError
from csg.parsing import build_config, find_recipe, read_yaml
from csg.tracking import TrackedRun
from csg.tracking.tags import Tag
from csg.training.identity import resolve_settings
from csg.training.selection import SELECTION_SCORE

GOLDEN = Path(__file__).parents[1] / "golden_runs"
ACCURACY = "target/test/accuracy"
TEXTS = Path(__file__).parents[1] / "golden_tables"


@pytest.fixture(scope="module")
def runs() -> RunTable:
    return read_runs(experiment="glyphs", tracking_uri="", exported=GOLDEN)


def the_ablation(table: RunTable, change: Callable[[TrackedRun], TrackedRun | None] = lambda run: run) -> AblationRuns:
    """Return the committed ablation with each of its runs changed, or left out."""
    (ablation,) = table.list_ablations()
    changed = tuple(each for each in map(change, ablation.runs) if each is not None)
    return dataclasses.replace(ablation, runs=changed)


def rows(table: Table) -> dict[str, dict[str, str]]:
    return {row["cell"]: row for row in csv.DictReader(table.to_csv().splitlines())}


@pytest.mark.parametrize("suffix", ["md", "tex", "csv"])
def test_tables_of_the_committed_runs_have_their_text(runs: RunTable, tmp_path: Path, suffix: str) -> None:
    assert paper_tables.main(["--runs", str(GOLDEN), "--out", str(tmp_path)]) == 0
    expected = {path.name: path.read_text() for path in TEXTS.glob(f"*.{suffix}")}
    assert {path.name: path.read_text() for path in tmp_path.glob(f"*.{suffix}")} == expected
    assert len(expected) == 6


def test_a_figure_is_the_mean_and_sample_deviation_of_its_runs(runs: RunTable) -> None:
    (ablation,) = runs.list_ablations()
    shown = rows(make_ablation_table(ablation))
    for cell, row in shown.items():
        values = [100 * run.metrics[ACCURACY] for run in ablation.get_cell(cell)]
        assert row["n"] == str(len(values)) == "3"
        assert row["real accuracy %"] == f"{statistics.fmean(values):.1f} ± {statistics.stdev(values):.1f}"


def test_all_cells_can_be_compared_with_another_than_the_designs_base(runs: RunTable) -> None:
    made, _ = make_tables(runs, against="+ A-pool")
    (table,) = (each for each in made if each.name.startswith("ablation_"))
    shown, (ablation,) = rows(table), runs.list_ablations()
    base = {run.params["train.seed"]: run.metrics[ACCURACY] for run in ablation.get_cell("+ A-pool")}
    assert shown["+ A-pool"]["Δ [95 % interval]"] == "-" and "against" not in shown["source only"]
    for cell in ablation.comparisons.keys() - {"+ A-pool"}:
        moved = [100 * (run.metrics[ACCURACY] - base[run.params["train.seed"]]) for run in ablation.get_cell(cell)]
        assert shown[cell]["Δ [95 % interval]"].startswith(f"{statistics.fmean(moved):+.1f} [")
    assert "to '+ A-pool', paired by seed" in table.caption
    with pytest.raises(UserError, match=r"--against: expected one of 'source only', .*, found 'none such'"):
        make_tables(runs, against="none such")


def test_half_of_the_runs_deleted_leaves_smaller_n_and_missing_cells_missing(runs: RunTable) -> None:
    kept = the_ablation(runs, lambda run: run if run.tags["csg.cell"].startswith("source") else None)
    shown = rows(make_ablation_table(kept))
    assert shown["source only"]["n"] == "3"
    assert set(shown["+ A-pool"].values()) == {"+ A-pool", "0", "-", "+ multi-layer (3 and 4)"}
    one = the_ablation(runs, lambda run: run if run.params["train.seed"] == 0 else None)
    table = make_ablation_table(one)
    assert rows(table)["+ A-pool"]["p (Holm)"] == "-" and "±" not in rows(table)["+ A-pool"]["real accuracy %"]
    assert "One seed: no spread, no test." in table.caption


@pytest.mark.parametrize(
    ("dimension", "tag"), [("commit", "commit"), ("program", "source_digest"), ("data", "data.fingerprint")]
)
def test_runs_of_two_versions_are_not_mixed_unless_told_to(runs: RunTable, dimension: str, tag: str) -> None:
    def other(run: TrackedRun) -> TrackedRun:
        return dataclasses.replace(run, tags={**run.tags, tag: "other"}) if run.params["train.seed"] == 1 else run

    mixed = the_ablation(runs, other)
    with pytest.raises(MixedRunsError, match=rf"more than one {dimension} .*of other.*--mix {dimension}"):
        make_ablation_table(mixed)
    assert f"Mixes runs of more than one {dimension}: " in make_ablation_table(mixed, mix=[dimension]).caption


def test_protocols_are_not_mixed_where_they_selected_anything(runs: RunTable) -> None:
    def best(run: TrackedRun) -> TrackedRun:
        protocol = "paper" if run.params["train.seed"] == 1 else "source"
        changed = {**run.params, "selection.epoch": "best", "selection.protocol": protocol}
        return dataclasses.replace(run, params=changed)

    with pytest.raises(MixedRunsError, match="more than one protocol"):
        make_ablation_table(the_ablation(runs, best))
    caption = make_ablation_table(the_ablation(runs, best), mix=["protocol"]).caption
    assert "paper, source (12 target queries, with labels)" in caption, "6 runs asked 2 epochs each"


def test_a_failed_run_is_in_no_figure_and_is_spoken_of(runs: RunTable) -> None:
    def failed(run: TrackedRun) -> TrackedRun:
        broken = run.tags["csg.cell"] == "+ A-pool" and run.params["train.seed"] == 2
        return dataclasses.replace(run, status="failed", metrics={}) if broken else run

    table = make_ablation_table(the_ablation(runs, failed))
    assert rows(table)["+ A-pool"]["n"] == "2 of 3"
    assert "n of m: the others are failed, and in no figure." in table.caption


def test_a_figure_with_a_nan_is_missing_and_not_averaged_away(runs: RunTable) -> None:
    def broken(run: TrackedRun) -> TrackedRun:
        nan = run.tags["csg.cell"] == "+ A-pool" and run.params["train.seed"] == 2
        return dataclasses.replace(run, metrics={**run.metrics, ACCURACY: math.nan}) if nan else run

    table = make_ablation_table(the_ablation(runs, broken))
    assert rows(table)["+ A-pool"]["real accuracy %"] == "-" and rows(table)["+ A-pool"]["n"] == "3"
    assert rows(table)["+ augmentation (CSG)"]["p (Holm)"] == "-", "its base has no figure"
    assert "-: a run of that cell has no finite figure." in table.caption


def test_equal_differences_are_not_tested_and_spoken_of(runs: RunTable) -> None:
    def level(run: TrackedRun) -> TrackedRun:
        value = 0.5 if run.tags["csg.cell"] == "source only" else 0.75
        return dataclasses.replace(run, metrics={**run.metrics, ACCURACY: value + 0.01 * run.params["train.seed"]})

    table = make_ablation_table(the_ablation(runs, level))
    shown = rows(table)["+ contrastive (stage 4)"]
    assert (shown["Δ [95 % interval]"], shown["p (Holm)"]) == ("+25.0", "-")
    assert "p -: a cell's differences are equal under all seeds" in table.caption
    assert all("p -:" not in make_ablation_table(each).caption for each in runs.list_ablations())


def test_no_difference_at_all_is_not_tested_either_and_counts_as_no_test(runs: RunTable) -> None:
    """Where a cell is the same as its base under every seed, p is missing, and the others' are those without it."""
    base = {run.params["train.seed"]: run for run in runs.list_ablations()[0].get_cell("source only")}

    def like_base(run: TrackedRun) -> TrackedRun:
        same = run.tags["csg.cell"] == "source only, augmentation"
        return dataclasses.replace(run, metrics=base[run.params["train.seed"]].metrics) if same else run

    def without(run: TrackedRun) -> TrackedRun | None:
        return None if run.tags["csg.cell"] == "source only, augmentation" else run

    table, shorter = (
        make_ablation_table(the_ablation(runs, like_base)),
        make_ablation_table(the_ablation(runs, without)),
    )
    shown = rows(table)
    same = shown.pop("source only, augmentation")
    assert (same["Δ [95 % interval]"], same["p (Holm)"]) == ("+0.0", "-")
    assert "p -: a cell's differences are equal under all seeds" in table.caption
    others = {cell: row["p (Holm)"] for cell, row in rows(shorter).items() if cell in shown}
    assert {cell: row["p (Holm)"] for cell, row in shown.items()} == others


def test_equal_best_means_are_all_bold_in_every_format(runs: RunTable) -> None:
    def level(run: TrackedRun) -> TrackedRun:
        energy = -0.5 if run.tags["csg.cell"] in ("+ A-pool", "source only") else 0.25
        noise = 0.001 * run.params["train.seed"]
        metrics = {"target/test/E0_mhe": energy + noise, "target/test/mean_class_accuracy": 0.0}
        return dataclasses.replace(run, metrics={**run.metrics, **metrics})

    table = make_main_comparison(runs, the_ablation(runs, level))
    emphasis = table.cells.map(lambda entry: entry.emphasis)
    assert set(emphasis["mean class %"]) == {"best"}
    bold = set(emphasis.index[emphasis["E_0 (mhe)"] == "best"])
    assert bold == {"+ A-pool", "source only"}
    count = len(table.cells)
    assert table.to_markdown().count("**0.0 ± 0.0**") == count and table.to_markdown().count("**-0.499 ± 0.001**") == 2
    assert table.to_latex().count(r"\textbf{0.0 $\pm$ 0.0}") == count
    assert write_table(table, lambda run_id: run_id).count("<strong>0.0 <span>± 0.0</span></strong>") == count


def test_the_best_trials_are_finished_ones_of_the_space_with_a_score(runs: RunTable) -> None:
    (search,) = runs.list_searches()
    one = next(run for run in search.runs if run.status == "finished" and run.tags["csg.role"] == "default")

    def trial(score: float | None, role: str = "suggested", **changes: Any) -> TrackedRun:
        metrics = {} if score is None else {SELECTION_SCORE: score}
        return dataclasses.replace(one, name=str(score), metrics=metrics, tags={"csg.role": role}, **changes)

    among = [
        trial(0.5),
        trial(None),
        trial(math.nan),
        trial(0.9, "source_only"),
        trial(0.8, status="stopped"),
        trial(0.7),
    ]
    assert [run.name for run in rank_trials(among)] == ["0.7", "0.5"]
    assert rank_trials(among[1:5]) == []


def test_two_runs_of_one_seed_are_refused(runs: RunTable) -> None:
    def same(run: TrackedRun) -> TrackedRun:
        return dataclasses.replace(run, params={**run.params, "train.seed": 0})

    with pytest.raises(MixedRunsError, match="two runs of one cell have the seed 0"):
        make_ablation_table(the_ablation(runs, same))


def test_the_papers_figures_stand_only_beside_runs_of_its_own_kind(runs: RunTable) -> None:
    published = resolve_settings(build_config(read_yaml(find_recipe("visda17_csg")))) | {"model.weights": "r101.pth"}
    others = {name: value for name, value in published.items() if not name.startswith(("method.", "data.augmentation"))}

    def paper(run: TrackedRun, **changes: Any) -> TrackedRun:
        settings = published if run.tags["csg.cell"] == "+ augmentation (CSG)" else others
        return dataclasses.replace(run, params=run.params | settings | changes)

    (plain,) = runs.list_ablations()
    assert "paper %" not in make_main_comparison(runs, plain).cells
    made = rows(make_main_comparison(runs, the_ablation(runs, paper)))
    assert made["source only"]["paper %"] == "49.30" and made["+ augmentation (CSG)"]["paper %"] == "64.05"
    assert made["+ contrastive (stage 4)"]["paper %"] == "-", "no row of the paper's table"
    mean = statistics.fmean(
        100 * run.metrics["target/test/mean_class_accuracy"] for run in plain.get_cell("source only")
    )
    assert made["source only"]["Δ to paper"] == f"{mean - 49.3:+.1f}"
    assert find_published_score([]) is None
    (csg,) = (run for run in plain.get_cell("+ augmentation (CSG)") if run.params["train.seed"] == 0)
    assert find_published_score([paper(csg)]) == 64.05
    assert find_published_score([paper(csg, **{"train.seed": 3, "train.device": "cuda", "data.workers": 9})]) == 64.05
    unpublished: dict[str, Any] = {
        **{"method.temperature": 0.5, "method.stage3.weight": 1.0, "method.stage4.chunks": 2, "method.queue_size": 64},
        **{"data.source_images": 1000, "data.trained_on": "target", "model.weights": "none", "model.name": "resnet50"},
        **{"model.teacher_weights": "other.pth", "optim.lr": 0.03, "train.epochs": 1, "data.augmentation": "none"},
        **{"selection.protocol": "oracle", "selection.epoch": "last"},
    }
    for name, value in unpublished.items():
        assert find_published_score([paper(csg, **{name: value})]) is None, name


def test_every_figure_can_be_traced_to_its_runs_and_their_commands(
    runs: RunTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert paper_tables.main(["--runs", str(GOLDEN), "--out", str(tmp_path)]) == 0
    (ablation,) = runs.list_ablations()
    origin = json.loads((tmp_path / "ablation_components.provenance.json").read_text())
    for label in make_ablation_table(ablation).cells.index:
        values = origin["cells"][f"{label}:real accuracy %"]["values"]
        assert set(values) == {run.run_id for run in ablation.get_cell(label)}
    capsys.readouterr()
    cell = "ablation_components:+ A-pool:real accuracy %"
    assert trace.main([cell, "--tables", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for run in ablation.get_cell("+ A-pool"):
        assert run.run_id in said and run.tags["config_id"] in said and run.tags["commit"] in said
    assert "csg train --method.name csg" in said and "--train.seed 2" in said
    assert trace.main(["ablation_components:+ A-pol:n", "--tables", str(tmp_path)]) == 2
    assert "the nearest: '+ A-pool:" in capsys.readouterr().err
    assert trace.main(["nothing:a:b", "--tables", str(tmp_path)]) == 2
    assert "expected TABLE:ROW:COLUMN with a table of" in capsys.readouterr().err


def test_exported_runs_make_the_same_tables_and_name_no_machine(tmp_path: Path) -> None:
    assert export_runs.main(["--runs", str(GOLDEN), "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "runs.jsonl").read_text() == (GOLDEN / "runs.jsonl").read_text()
    assert "/tmp" not in (GOLDEN / "runs.jsonl").read_text()
    assert paper_tables.main(["--runs", str(tmp_path / "again"), "--out", str(tmp_path / "tables")]) == 0
    text = (tmp_path / "tables" / "main_comparison.md").read_text()
    assert text == (TEXTS / "main_comparison.md").read_text()


def test_an_export_cuts_paths_to_file_names_wherever_they_stand(runs: RunTable, tmp_path: Path) -> None:
    """Settings may be any method's own; errors hold paths, addresses and the traceback of a machine."""
    one = next(run for run in runs.runs if run.status == "finished")
    paths = {
        "model.weights": "/home/alice/big models/resnet101.pth",
        "model.teacher_weights": "/home/alice/teacher.pth",
        "method.path": "/home/alice/mine.py:Mine",
        "method.corpus": "/home/alice/styles",
        "data.root": "/home/alice/visda",
        "train.output": "s3://alice/runs",
    }
    error = (
        "FileNotFoundError: [Errno 2] No such file: '/home/alice/my images/0001.png' (see /home/alice/log.txt, "
        "s3://alice/runs/state.pt, sqlite:////home/alice/ml.db, s3://alice or "
        '/home/alice); 1 / 2 of a/b\n  File "/home/alice/x.py", line 3, on host alices-laptop'
    )
    tags = {**one.tags, "error": error, "data.description": "/home/alice/a -> /home/alice/b: 3 images"}
    broken = dataclasses.replace(one, params={**one.params, **paths}, tags=tags, status="failed")
    text = export_runs.export_runs(dataclasses.replace(runs, runs=(broken,)), tmp_path).read_text()
    assert "alice" not in text
    exported = json.loads(text)
    assert exported["tags"]["error"] == (
        "FileNotFoundError: [Errno 2] No such file: '0001.png' (see log.txt, state.pt, ml.db,  or ); 1 / 2 of a/b"
    )
    assert exported["tags"]["data.description"] == "a -> b: 3 images"
    left = {name: exported["params"].get(name) for name in paths}
    assert left == {
        "model.weights": "resnet101.pth",
        "model.teacher_weights": "teacher.pth",
        "method.path": "mine.py:Mine",
        "method.corpus": "styles",
        "data.root": None,
        "train.output": None,
    }


def test_a_folder_is_not_exported_onto_itself(runs: RunTable, tmp_path: Path) -> None:
    """Without --features its features would be gone."""
    exported = export_runs.export_runs(runs, tmp_path / "exported").parent
    before = {path: path.read_bytes() for path in exported.rglob("*") if path.is_file()}
    again = ["--runs", str(exported), "--out", str(exported)]
    assert export_runs.main(again) == 2
    assert {path: path.read_bytes() for path in exported.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--runs", "nowhere"], "--runs: expected a folder with runs.jsonl"),
        (["--runs", str(GOLDEN), "--experiment", "digits"], "--experiment: expected one of glyphs"),
        (["--runs", str(GOLDEN), "--commit", "0000"], "--commit: expected the start of one of"),
        (["--runs", str(GOLDEN), "--main", "temperature"], "--main: expected one of components"),
        (["--tracking-uri", "sqlite:///nowhere/mlflow.db"], "expected an MLflow store, found nothing at"),
    ],
)
def test_what_cannot_be_read_is_refused(
    flags: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert paper_tables.main(flags) == 2
    assert message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_nothing_to_compare_is_not_mixed() -> None:
    assert check_unmixed({}) == []
    with pytest.raises(UserError):
        read_runs(experiment="glyphs", tracking_uri="sqlite:////proc/none.db")


@given(st.text(max_size=30))
def test_any_text_is_safe_in_latex(text: str) -> None:
    written = re.sub(r"\\[&%$#_{}]|\\text\w+\{\}|\$[^$]*\$", "", escape_latex(text))
    assert not set(written) & set("&%$#_{}~^\\")


def test_latex_writes_symbols_and_signs() -> None:
    assert escape_latex("E_0 (mhe), -1.5 ± 2 %") == r"$E_0$ (mhe), $-$1.5 $\pm$ 2 \%"
    assert escape_latex("A-pool, 2-1") == "A-pool, 2-1"


def one_cell(title: str, heading: str, label: str, entry: Entry) -> Table:
    return Table("t", title, arrange_cells(["cell", heading], {label: [entry]}), "c")


def test_marks_and_bars_survive_every_format() -> None:
    table = one_cell("A|B", "x|y", "a|b", Entry("1", "best"))
    assert "| a\\|b | **1** |" in table.to_markdown() and "x\\|y" in table.to_markdown()
    assert r"a\textbar{}b & \textbf{1} \\" in table.to_latex()
    assert "1†" in one_cell("", "x", "a", Entry("1", "not distinguishable")).to_markdown()


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("E_0 a_b [x] <1 a & b ~ 2", "E_0 a_b [x] <1 a & b ~ 2"),
        ("_a_ **b** `c`", "\\_a\\_ \\*\\*b\\*\\* \\`c\\`"),
        ("<b>a [a](b) &amp; ~~a~~", "\\<b>a [a\\](b) \\&amp; \\~~a\\~~"),
        ("a\\|b\n", "a\\\\\\|b\\\\n"),
    ],
)
def test_a_name_means_nothing_in_markdown(name: str, written: str) -> None:
    assert escape_markdown(name) == written


def test_a_row_whose_name_begins_like_an_option_is_a_row_in_latex() -> None:
    table = dataclasses.replace(one_cell("", "x", "[old] car", Entry("1")), name="a b%")
    assert "\n{}[old] car & 1" in table.to_latex() and r"\label{tab:a-b-}" in table.to_latex()


def test_brackets_survive_in_a_console(capsys: pytest.CaptureFixture[str]) -> None:
    rich.print(one_cell("T [x]", "[c]", "car [old]", Entry("[1, 2]", "best")).to_rich())
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("T [x]", "[c]", "car [old]", "[1, 2]"))


def test_a_deviation_divides_by_n_minus_one() -> None:
    assert format_mean([1.0, 3.0], 2) == "2.00 ± 1.41"
    assert format_mean([1.0], 1) == "1.0" and format_mean([], 1) == "-" and format_mean([1.0, math.inf], 1) == "-"


def without_target(run: TrackedRun) -> TrackedRun:
    """Return the run as if nobody had labelled its real images."""
    kept = {name: value for name, value in run.metrics.items() if "target/test" not in name}
    return dataclasses.replace(run, metrics=kept)


def test_without_labelled_real_images_the_source_is_tested_and_no_column_is_blank(runs: RunTable) -> None:
    table = make_ablation_table(the_ablation(runs, without_target))
    assert not [heading for heading in table.headings if heading.startswith(("real", "E_0"))]
    assert table.headings[2:6] == ["source accuracy %", "against", "Δ [95 % interval]", "p (Holm)"]
    assert "The data have no target/test" in table.caption
    assert not [cell for row in rows(table).values() for cell in row.values() if cell == "nan"]


def test_tables_that_need_labels_are_not_made_without(runs: RunTable) -> None:
    made, refused = make_tables(dataclasses.replace(runs, runs=tuple(map(without_target, runs.runs))))
    names = [table.name for table in made]
    assert not refused and names == ["ablation_components", "search_summary"]
    assert made[1].headings[-1] == "its score" and "The data have no target/test" in made[1].caption


def on_another_set(run: TrackedRun, fingerprint: str = "f0") -> TrackedRun:
    """Return the run as if it had been measured on a set named winter, where it is half as right."""
    metrics = run.metrics | {"evaluated/winter/accuracy": run.metrics[ACCURACY] / 2}
    return dataclasses.replace(run, metrics=metrics, tags=run.tags | {Tag.EVALUATED: f'{{"winter": "{fingerprint}"}}'})


def test_another_labelled_set_is_a_column(runs: RunTable) -> None:
    table = make_ablation_table(the_ablation(runs, on_another_set))
    found = rows(table)["source only"]
    real, winter = (float(found[name].split()[0]) for name in ("real accuracy %", "winter %"))
    assert winter == pytest.approx(real / 2, abs=0.1)
    assert "winter: another labelled set, measured after the runs had finished" in table.caption
    main = make_main_comparison(runs, the_ablation(runs, on_another_set))
    assert main.headings[-1] == "winter accuracy %"


def test_a_cell_that_was_not_measured_on_another_set_is_blank(runs: RunTable) -> None:
    def change(run: TrackedRun) -> TrackedRun:
        return run if run.tags["csg.cell"] == "source only" else on_another_set(run)

    cells = rows(make_ablation_table(the_ablation(runs, change)))
    assert cells["source only"]["winter %"] == "-" != cells["+ A-pool"]["winter %"]


def test_versions_of_another_set_are_not_mixed(runs: RunTable) -> None:
    ablation = the_ablation(runs, lambda run: on_another_set(run, fingerprint=f"f{run.params['train.seed']}"))
    with pytest.raises(MixedRunsError, match="3 versions of the set 'winter'"):
        make_ablation_table(ablation)
    assert "winter %" in make_ablation_table(ablation, mix=["data"]).headings
