"""An output folder that was moved: everything is found, and goes on, where it is now."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
from pathlib import Path

import pytest
from mlflow import MlflowClient

from analysis.figures.pictures import choose_runs
from analysis.runs.comparable import NoDataError
from analysis.runs.run_table import read_runs
from csg.parsing import build_config, parse_flags, to_yaml
from csg.storage.disk import DiskPlace
from csg.storage.layout import OUTPUTS, PICTURES
from csg.tracking import RunTracker, Tracker, get_default_tracking_uri
from csg.tracking.reading import read_artifact
from tests.finished_run import finished_run, new_run
from tune_spaces.search.options import SearchOptions


def opened(output: Path) -> Tracker:
    return Tracker(get_default_tracking_uri(str(output)), "bars")


def search_of(store: Tracker, output: Path) -> str:
    folder = output / "searches" / "bars" / "s1"
    return store.open_parent("search", "s1", folder=DiskPlace(folder), name="search", params={}, description="")


@pytest.fixture
def moved(tmp_path: Path) -> tuple[Path, str, str]:
    """An output folder that was moved with one finished run of a search in it; the run's id, and the search's."""
    before, now = tmp_path / "o'brien's runs", tmp_path / "else where"
    store = opened(before)
    parent = search_of(store, before)
    tracker = RunTracker(store, finished_run(before), parent=parent)
    tracker.log()
    shutil.move(before, now)
    return now, tracker.run_id, parent


def locations(output: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(output / "mlflow.db")) as database:
        rows = database.execute("SELECT artifact_location FROM experiments UNION SELECT artifact_uri FROM runs")
        return {location for (location,) in rows}


def test_figures_find_what_runs_stored(moved: tuple[Path, str, str]) -> None:
    output, run_id, _ = moved
    table = read_runs(experiment="bars", tracking_uri=f"sqlite:///{output}/mlflow.db")
    (run,) = (run for run in table.runs if run.run_id == run_id)
    assert table.read_outputs(run) is not None and table.read_pictures(run) is not None
    (shown,), _ = choose_runs(table)
    assert shown.run.run_id == run_id
    assert not (output.parent / "o'brien's runs").exists()


def test_new_artifacts_go_where_the_store_is_and_the_old_folder_stays_gone(moved: tuple[Path, str, str]) -> None:
    output, _, parent = moved
    store = opened(output)
    run = RunTracker(store, finished_run(output, train__seed=1), parent=search_of(store, output))
    run.log()
    assert (output / "mlartifacts" / run.run_id / "artifacts" / PICTURES).is_file()
    assert [child.status for child in store.read_children(parent)] == ["finished", "finished"], (
        "the search is the same one"
    )
    assert all(location.startswith((output / "mlartifacts").as_uri()) for location in locations(output))
    assert not (output.parent / "o'brien's runs").exists()
    again = new_run(output)
    assert again.record.status == "finished" and again.selected.exists()


def test_a_copy_has_its_own_artifacts_and_a_store_moved_alone_those_of_before(
    moved: tuple[Path, str, str], tmp_path: Path
) -> None:
    output, run_id, _ = moved
    opened(output)
    copy, alone = tmp_path / "copy", tmp_path / "alone"
    shutil.copytree(output, copy)
    alone.mkdir()
    shutil.copy(output / "mlflow.db", alone)
    for place, artifacts in ((copy, copy), (alone, output)):
        store = opened(place)
        assert store.client.get_run(run_id).info.artifact_uri.startswith((artifacts / "mlartifacts").as_uri())
        found = read_artifact(store.uri, run_id, OUTPUTS)
        assert found is not None and found.is_file()


def test_addresses_that_others_chose_stay(tmp_path: Path) -> None:
    uri = opened(tmp_path / "runs").uri
    client = MlflowClient(uri)
    for name, location in (("bucket", "s3://b/mlartifacts"), ("folder", "file:///gone/elsewhere")):
        client.create_experiment(name, artifact_location=location)
    opened(tmp_path / "runs")
    assert {"s3://b/mlartifacts", "file:///gone/elsewhere"} <= locations(tmp_path / "runs")


def test_where_files_are_nowhere_the_message_names_the_places(moved: tuple[Path, str, str]) -> None:
    output, run_id, _ = moved
    shutil.rmtree(output / "mlartifacts")
    table = read_runs(experiment="bars", tracking_uri=f"sqlite:///{output}/mlflow.db")
    places = [each / "mlartifacts" / run_id / "artifacts" for each in (output, output.parent / "o'brien's runs")]
    with pytest.raises(NoDataError, match=re.escape(f"Looked in {places[0]} and {places[1]}.")):
        choose_runs(table)


def test_a_searchs_best_settings_are_for_the_folder_that_they_lie_in(tmp_path: Path) -> None:
    for name in ("before", "now"):
        (tmp_path / name / "searches" / "bars" / "s1").mkdir(parents=True)
    written = tmp_path / "before" / "searches" / "bars" / "s1" / "best.yaml"
    before = {"train.output": str(tmp_path / "before"), "data.cache": str(tmp_path / "before" / "cache")}
    written.write_text(to_yaml(build_config(before)))
    (written.parent / "journal.jsonl").touch()

    def settings(path: Path, *flags: str) -> tuple[str, str | None]:
        config = parse_flags(SearchOptions, ["--config", str(path), *flags], prog="x", description="").config
        return config.train.output, config.data.cache

    assert settings(written) == (str(tmp_path / "before"), str(tmp_path / "before" / "cache"))
    moved = shutil.copytree(written.parent, tmp_path / "now" / "searches" / "bars" / "s2") / "best.yaml"
    assert settings(moved) == (str(tmp_path / "now"), str(tmp_path / "now" / "cache"))
    assert settings(moved, "--train.output", str(tmp_path / "own"))[0] == str(tmp_path / "own")
    kept = Path(shutil.copy(written, tmp_path / "mine.yaml"))
    assert settings(kept)[0] == str(tmp_path / "before")
