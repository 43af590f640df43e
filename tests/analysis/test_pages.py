"""What is meant to be looked at, looked at in a real browser: the report, and a search's runs in MLflow's pages."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, sync_playwright

from analysis import report
from csg.storage.disk import DiskPlace
from csg.tracking import RunTracker, Tracker, View
from csg.tracking.view import CHARTS, make_run_address
from csg.training.run import Run
from tests.analysis.tables.test_tables import GOLDEN
from tests.csg.training.test_training import tiny
from tests.made_up_pair import made_up_pair
from tests.process_group import free_port
from tests.stores import WITHOUT_JOBS, put_store_below

CALM = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
SERVER_SECONDS = 120
LINKS_TO_NOTHING = """[...document.querySelectorAll('a[href^="#"]')]
    .filter(each => !document.getElementById(each.hash.slice(1))).map(each => each.hash)"""
CLOSE_ASSISTANT = """Object.keys(localStorage).filter(each => each.startsWith('mlflow.assistant.panelOpen'))
    .forEach(each => localStorage.setItem(each, 'false'))"""
"""Closes a pane that MLflow opens at a browser's first visit, and that takes the room of the description's column."""
WIDER_THAN_THEIR_PLACE = """[document.documentElement, ...document.querySelectorAll('.scroll:not(.wide .scroll), pre')]
    .filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.outerHTML.slice(0, 80))"""


@contextmanager
def browser_page() -> Iterator[Page]:
    """Open an empty page; whatever goes wrong in it fails the test."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no Chromium on the path to look at pages with; make browser installs Debian's")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CALM)
        try:
            yield browser.new_page(viewport={"width": 2000, "height": 900})
        finally:
            browser.close()


@pytest.mark.slow
def test_the_report_shows_its_tables_and_figures_without_a_network(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    assert report.main(["--runs", str(GOLDEN), "--out", str(out)]) == 0
    assert "http://" not in out.read_text(), "loads nothing from elsewhere"
    errors: list[str] = []
    with browser_page() as page:
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(out.as_uri())
        assert page.title() == "glyphs"
        cell = page.locator("#ablation_components tbody tr", has_text="+ A-pool").locator("td").nth(1)
        assert "±" in cell.inner_text()
        href = cell.locator("a").get_attribute("href")
        assert href is not None and href.startswith("#run-"), "it works wherever the page lies"
        run = page.locator(f".run:has({href})")
        assert "csg train" in run.inner_text()
        assert run.locator("a").first.get_attribute("href") is None, "an export does not know its store's pages"
        assert page.evaluate(LINKS_TO_NOTHING) == []
        pictures = page.locator("img")
        assert pictures.count() >= 2
        broken = pictures.evaluate_all("found => found.filter(each => each.naturalWidth === 0).length")
        assert broken == 0
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            wide = page.evaluate(WIDER_THAN_THEIR_PLACE)
            assert wide == [], f"nothing is cut off or scrolls sideways at {width} pixels"
    assert errors == []


@contextmanager
def mlflow_pages(store: Tracker) -> Iterator[str]:
    """Serve a store's pages, as ``make ui`` does."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store.uri, "--workers", "1"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env=os.environ | WITHOUT_JOBS,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + SERVER_SECONDS
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except OSError:
                assert process.poll() is None
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_the_view_of_a_search_shows_its_trials_with_the_searched_settings_and_no_constants(tmp_path: Path) -> None:
    store = Tracker(put_store_below(tmp_path), "bars")
    parent = store.open_parent(
        "search", "s", folder=DiskPlace(tmp_path), name="search s", params={}, description="A search"
    )
    for number, temperature in enumerate((0.07, 0.5)):
        run = Run(tiny(tmp_path, method__temperature=temperature), made_up_pair())
        list(run.train())
        run.finish()
        run.record.final["target/test/accuracy"] = 0.25 + 0.5 * number
        RunTracker(store, run, parent=parent, name=f"{number:03d} trial").log()
    searched = ["method.temperature", "optim.lr"]
    view = View(parent, searched, "source/val/mean_class_accuracy", "target/test/accuracy", searched)
    address = store.share_view(view, "A search", ["The verdict: +1.0 points [+0.5, +1.5]."])
    with mlflow_pages(store) as server, browser_page() as page:
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto(server + address)
        page.get_by_text("000 trial").first.wait_for(timeout=60_000)
        page.get_by_text("method.temperature").first.wait_for(timeout=60_000)
        headings = page.locator(".ag-header-cell-text, [role=columnheader]").all_inner_texts()
        text = page.inner_text("body")
        assert "001 trial" in text and "search s" not in text, "its trials, and no parent"
        assert any("method.temperature" in heading for heading in headings) or "method.temperature" in text
        assert "train.threads" not in text, "constants are out of the way"
        page.goto(server + make_run_address(store.experiment_id, parent))
        note = page.get_by_text("All its runs, the best first").first
        note.wait_for(timeout=60_000)
        said = page.inner_text("body")
        places = [said.index(each) for each in ("All its runs", "The verdict: +1.0 points [+0.5, +1.5].", "A search")]
        assert places == sorted(places), "the links, the verdict, and what it is"
        assert page.get_by_text("Evaluation runs").count() == 0, "the pages of trained models, not of language models"
        page.evaluate(CLOSE_ASSISTANT)
        page.reload()
        note.wait_for(timeout=60_000)
        about = page.get_by_text("About this run").first.bounding_box()
        beside = note.bounding_box()
        assert about is not None and beside is not None
        assert beside["x"] < about["x"] and beside["y"] < about["y"] + 40, "it is where the page begins"
        children = store.read_children(parent)
        compared = json.dumps([run.run_id for run in children])
        page.goto(
            f"{server}/#/compare-runs?runs={quote(compared)}&experiments={quote(json.dumps([store.experiment_id]))}"
        )
        page.get_by_text("Comparing 2 Runs from 1 Experiment").wait_for(timeout=60_000)
        assert all(page.get_by_text(run.name).count() for run in children), "the table's columns bear the trials' names"
        page.locator(".parcoords, .parallel-coordinates-plot, .js-plotly-plot").first.wait_for(timeout=60_000)
        differing = page.locator("tr", has_text="method.temperature").first.inner_text().split()
        assert differing[-2:] == ["0.07", "0.5"], "a setting has one name, here too"
        page.goto(f"{server}{address}{CHARTS}")
        page.get_by_text("In short").first.wait_for(timeout=60_000)
        page.get_by_text("source/val/mean_class_accuracy").first.wait_for(timeout=60_000)
        page.get_by_text("Parallel Coordinates").first.wait_for(timeout=60_000)
        page.locator(".js-plotly-plot").first.wait_for(timeout=60_000)
