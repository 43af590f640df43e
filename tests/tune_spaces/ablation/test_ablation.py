"""Ablations: a declared design, run once whatever happens, and the table that comes of it."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from csg.config.settings import flatten
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.interrupts import ANSWER
from csg.parsing import build_config, parse_flags
from csg.tracking import TrackedRun, Tracker, get_default_tracking_uri
from csg.tracking.tracker import list_active_settings
from csg.training.identity import compute_config_id
from tests import warm
from tests.few_images import EXPERIMENT, few_images
from tests.made_up_pair import TINY, made_up_pair
from tests.stores import put_store_below
from tune_spaces import motivating_example, visda_ablation
from tune_spaces.ablation import script as ablation_script
from tune_spaces.ablation.ablation import configure_cells
from tune_spaces.ablation.script import AblationOptions
from tune_spaces.designs.design import Cell, Design
from tune_spaces.designs.shipped import choose_design, find_design, make_shipped_designs

ROOT = Path(__file__).parents[3]
DESIGN = """
from tune_spaces.designs.design import Cell, Design
PAIR = Design(
    title="Two methods",
    base="source only",
    cells=(Cell("source only", {"method.name": "source_only"}), Cell("weights", {"method.name": "weight_l2"})),
)
"""
SMALL = [
    *("--data.source-images", "40", "--train.epochs", "1", "--train.batch-size", "8"),
    *("--train.checkpoint-minutes", "0", "--concurrency", "1"),
]


def command(folder: Path, *flags: str) -> list[str]:
    design = folder / "design.py"
    design.write_text(DESIGN)
    script = str(ROOT / "tune_spaces" / "visda_ablation.py")
    output = folder / "runs"
    put_store_below(output)
    settings = [*few_images(), *SMALL, "--train.output", str(output)]
    return [sys.executable, script, "--design", f"{design}:PAIR", *settings, *flags]


def run(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return warm.run(command(folder, *flags), cwd=folder)


def tracked(folder: Path) -> list[TrackedRun]:
    tracker = Tracker(get_default_tracking_uri(str(folder / "runs")), EXPERIMENT)
    parent = tracker.find({"csg.kind": "ablation"})
    assert parent is not None
    return tracker.read_children(parent)


@pytest.mark.slow
def test_an_ablation_that_was_interrupted_goes_on_and_trains_every_cell_under_the_same_seeds_once(
    in_cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert visda_ablation.main([*command(tmp_path, "--seeds", "2", "--plan")[2:]]) == 0
    assert capsys.readouterr().out.count("seeds 0, 1 missing") == 2
    with warm.Popen(command(tmp_path, "--seeds", "2"), stdout=warm.PIPE, cwd=tmp_path) as process:
        while not list(tmp_path.glob("runs/trained/*/checkpoint.pt")):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)  # a shell's background ignores SIGINT
        assert process.stdout is not None
        said = process.stdout.read()
        assert process.wait() == 130, said
    assert ANSWER in said and "The same command goes on with it" in said.split(ANSWER)[1]
    assert "interrupted" in {run.status for run in tracked(tmp_path)}
    done = run(tmp_path, "--seeds", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4/4" in done.stdout and "Two methods" in done.stdout.split("4/4")[1]
    runs = tracked(tmp_path)
    assert [(run.tags["csg.cell"], run.params["train.seed"], run.status) for run in runs] == [
        (cell, seed, "finished") for seed in (0, 1) for cell in ("source only", "weights")
    ]
    records = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")}
    more = run(tmp_path, "--seeds", "3")
    assert more.returncode == 0 and "4 of 6 runs are on record" in more.stdout
    assert {path: path.stat().st_mtime_ns for path in records} == records
    assert len(tracked(tmp_path)) == 6
    (table,) = (tmp_path / "runs" / "ablations").rglob("ablation_PAIR.csv")
    rows = table.read_text().splitlines()
    assert rows[0].startswith("cell,n,real accuracy %") and [row.split(",")[1] for row in rows[1:]] == ["3", "3"]
    capsys.readouterr()
    monkeypatch.setattr("csg.tracking.tracker.get_commit", lambda: "another")
    assert visda_ablation.main(command(tmp_path, "--seeds", "4")[2:]) == 0, "pages have changed, and no program"
    said = capsys.readouterr().out
    assert "Mixes runs of more than one commit: " in said and "2 of another" in said
    monkeypatch.setitem(globals(), "DESIGN", DESIGN.replace('base="source only"', 'base="weights"'))
    assert visda_ablation.main(command(tmp_path, "--seeds", "4")[2:]) == 0
    assert "8 of 8 runs are on record" in capsys.readouterr().out
    bases = {find_base(path) for path in tmp_path.rglob("ablation_PAIR.csv")}
    assert bases == {"source only", "weights"}, "the other one, in a table of its own"


def find_base(table: Path) -> str:
    """Return the cell that an ablation's table compares the others with."""
    rows = list(csv.DictReader(table.read_text().splitlines()))
    (change,) = (heading for heading in rows[0] if heading.startswith("\N{GREEK CAPITAL LETTER DELTA}"))
    (base,) = (row["cell"] for row in rows if row[change] == "-")
    return base


def get_settings(design: Design, **base: object) -> dict[str, dict[str, object]]:
    flat = flatten(build_config({name.replace("__", "."): value for name, value in base.items()}))
    return {cell.name: list_active_settings(config) for cell, config in configure_cells(design, flat, seeds=1)}


@pytest.mark.parametrize("pair", ["glyphs", "visda17", "glyph_scenes", "gta5_cityscapes"])
def test_every_cell_of_every_shipped_design_is_a_configuration_of_its_own(pair: str) -> None:
    for design in make_shipped_designs(pair).values():
        cells = list(configure_cells(design, flatten(build_config({"data.name": pair})), seeds=2))
        assert len({compute_config_id(config) for _, config in cells}) == len(design.cells)
        assert {config.train.seed for _, config in cells} == {0, 1}


def test_a_design_takes_what_is_the_pairs_own() -> None:
    for pair, augmentation, weight, lr in (
        ("glyphs", "randaugment", 0.1, 0.007),
        ("glyph_scenes", "colour_jitter", 0.75, 0.003),
        ("gta5_cityscapes", "colour_jitter", 75.0, 0.001),
    ):
        components = get_settings(make_shipped_designs(pair)["components"], data__name=pair)
        full, plain = components["+ augmentation (CSG)"], components["+ A-pool"]
        assert (full["data.augmentation"], plain["data.augmentation"]) == (augmentation, "none")
        assert full["method.stage3.weight"] == full["method.stage4.weight"] == weight
        assert {flat["optim.lr"] for flat in components.values()} == {lr}
        swept = make_shipped_designs(pair)["weight"]
        assert get_settings(swept, data__name=pair)[swept.base] == full


@pytest.mark.parametrize(
    ("flags", "rival", "example"),
    [
        (["--data.name", "visda17"], "oracle on ImageNet", "ImageNet weights"),
        (["--data.name", "visda17", "--model.weights", "resnet101.pth"], "oracle on ImageNet", "ImageNet weights"),
        (["--data.name", "glyph_scenes"], "frozen encoder", "frozen encoder"),
        (["--data.name", "glyph_scenes", "--model.weights", "imagenet"], "oracle on ImageNet", "ImageNet weights"),
        (["--data.name", "glyphs", "--model.weights", "mnist"], "frozen encoder", "frozen encoder"),
    ],
)
def test_a_frozen_encoder_is_an_oracle_on_imagenet_only_if_it_starts_from_that(
    flags: list[str], rival: str, example: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(motivating_example, "load_pair", lambda _: made_up_pair())
    chosen = parse_flags(visda_ablation.DesignOptions, flags, prog="", description="")
    _, rivals = choose_design(chosen.options.design, chosen.config)
    _, three = motivating_example.make_design(parse_flags(AblationOptions, flags, prog="", description=""))
    names = [
        [cell.name for cell in design.cells if cell.changes["method.name"] == "oracle_imagenet"]
        for design in (rivals, three)
    ]
    assert names == [[rival], [example]] and three.title.lower().startswith(example.lower())


def test_drpc_is_a_rival_with_each_of_its_halves() -> None:
    drpc = {
        name: flat
        for name, flat in get_settings(make_shipped_designs("glyphs")["rivals"]).items()
        if name.startswith("DRPC")
    }
    halves = {(flat["method.randomisation"], bool(flat["method.consistency_weight"])) for flat in drpc.values()}
    assert len(drpc) == 3 and halves == {(True, True), (True, False), (False, True)}
    assert all(flat["method.style_images"] is None for flat in drpc.values()), "styles of the batch's other images"


def test_averages_and_pasta_are_rows_around_source_only_and_around_csg() -> None:
    rivals = get_settings(make_shipped_designs("glyphs")["rivals"])
    for label, setting, value in (
        ("SWAD", "averaging.name", "swad"),
        ("WiSE-FT", "averaging.name", "wise_ft"),
        ("PASTA", "data.augmentation", "pasta"),
    ):
        plain, csg = rivals[label if label != "PASTA" else "source only, PASTA"], rivals[f"CSG, {label}"]
        assert (plain["method.name"], csg["method.name"]) == ("source_only", "csg")
        assert plain[setting] == csg[setting] == value


def test_a_rival_of_several_sources_is_a_row_where_there_are_some() -> None:
    names = {
        pair: {cell.name for cell in make_shipped_designs(pair)["rivals"].cells} for pair in ("glyphs", "glyph_scenes")
    }
    assert names["glyphs"] - names["glyph_scenes"] == {"low rank"}


def test_cells_start_from_what_the_configuration_says_of_their_own_method() -> None:
    base = {"method__temperature": 0.5, "method__stage3__weight": 2.0, "method__stage3__pooling": "average"}
    found = get_settings(make_shipped_designs("glyphs")["rivals"], **base, optim__lr=0.01)
    both, four = found["CSG, stages 3 and 4, A-pool"], found["CSG, stage 4, A-pool"]
    assert (both["method.temperature"], both["method.stage3.weight"]) == (0.5, 2.0)
    assert both["method.stage3.pooling"] == both["method.stage4.pooling"] == "apool", "which the cell says of all"
    assert four["method.temperature"] == 0.5 and "method.stage3.weight" not in four
    assert found["weight l2"]["method.weight"] == 0.1
    assert {flat["optim.lr"] for flat in found.values()} == {0.01}


def test_paths_in_cells_mean_the_same_files_to_processes_elsewhere(tmp_path: Path) -> None:
    cells = (Cell("one", {"data.name": "folders", "data.source": "renders"}), Cell("other", {"data.cache": "kept"}))
    design = Design(title="", base="one", cells=cells)
    one, other = (config.data for _, config in configure_cells(design, flatten(build_config(TINY)), 1))
    assert (one.source, other.cache) == (str(tmp_path / "renders"), str(tmp_path / "kept"))


def test_a_design_needs_distinct_names_and_a_base_among_them() -> None:
    cell = Cell("one", {})
    with pytest.raises(UserError, match="expected cells of different names"):
        Design(title="", base="one", cells=(cell, cell))
    with pytest.raises(UserError, match="'two' among them"):
        Design(title="", base="two", cells=(cell,))
    with pytest.raises(UserError, match="'one' is compared with 'one'; expected another"):
        Design(title="", base="two", cells=(Cell("one", {}, against="one"), Cell("two", {})))
    for name in ("a\u200fb", "a\x1b[1m", "a\udcdf", "a\nb", "a\tb", ""):
        with pytest.raises(UserError, match="design: expected a cell's name to be a text in one line") as refused:
            Design(title="", base=name, cells=(Cell(name, {}),))
        assert str(refused.value).endswith(f"found {name!r}")
    with pytest.raises(UserError, match="--design: expected one of rivals"):
        find_design("no such", "glyphs")


def test_cells_that_would_train_the_same_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation_script, "open_pair", lambda *_: made_up_pair())
    config = build_config(TINY | {"data.augmentation": "none"})
    with pytest.raises(UserError, match="'source only' and 'source only, augmentation' train the same"):
        ablation_script.make_cell_runs(make_shipped_designs("glyphs")["components"], config, 1, Console())


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
