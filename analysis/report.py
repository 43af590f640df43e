"""Write one page about an experiment: ``python analysis/report.py --experiment glyphs --out DIR``.

The page is a single file: what was asked and what came out, tables, figures, what was run and how to run it again. Each
figure of a table links to its run further down the page, and that to MLflow.
"""

from __future__ import annotations

import dataclasses
import html
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

from analysis.page.figures import write_figures
from analysis.page.origins import name_run, write_origins
from analysis.page.style import CSS
from analysis.page.summary import write_summary
from analysis.page.tables import write_table
from analysis.runs.comparable import DIMENSIONS
from analysis.runs.run_table import RunTable
from analysis.runs.source import MainOptions, make_main
from analysis.tables.paper import make_tables
from csg.commands.next_commands import LOCAL_SERVER
from csg.messages.console import Console
from csg.messages.text import make_printable
from csg.messages.wording import pluralize
from csg.storage.files import check_file, open_replacement
from csg.tracking import TrackedRun
from csg.tracking.tags import Tag
from csg.tracking.view import make_run_address


@dataclasses.dataclass(frozen=True)
class ReportOptions(MainOptions):
    """Flags of the script."""

    out: Path = Path("report.html")
    """Folder to write report.html to, or a file whose name ends in .html."""
    ui: str = ""
    """Address of MLflow's pages, for links to them (default: --tracking-uri if that is a server, else
    http://127.0.0.1:5000, where make ui serves them)."""

    @property
    def server(self) -> str:
        """Where MLflow's pages are."""
        store = urlsplit(self.tracking_uri)
        shown = store._replace(netloc=store.netloc.rpartition("@")[2]).geturl()  # a page is passed on: no password
        return (self.ui or (shown if store.scheme.startswith("http") else LOCAL_SERVER)).rstrip("/")

    @property
    def file(self) -> Path:
        """The page's path."""
        return self.out if self.out.suffix.lower() == ".html" else self.out / "report.html"


def write_page(table: RunTable, options: ReportOptions) -> str:
    """Return the report as HTML."""
    tables, refused = make_tables(table, main=options.main, mix=options.mix)
    linked: set[str] = set()

    def link(run_id: str) -> str:
        linked.add(run_id)
        return f"#{name_run(run_id)}"

    def find_address(run: TrackedRun) -> str:
        return options.server + make_run_address(run.experiment_id, run.run_id) if run.experiment_id else ""

    title = html.escape(table.experiment)
    body = [
        f"<h1>{title}</h1><p class='note'>{html.escape(_count(table))}</p>",
        "<nav><a href='#tables'>Tables</a><a href='#figures'>Figures</a><a href='#runs'>Runs and commands</a></nav>",
        write_summary(table, link, main=options.main, mix=options.mix),
        "<h2 id='tables'>Tables</h2>",
        *(write_table(each, link) for each in tables),
        *(f"<p class='note'>Not made: {html.escape(reason)}</p>" for reason in refused),
        f"<h2 id='figures'>Figures</h2>{write_figures(table, mix=options.mix)}",
        "<h2 id='runs'>What was run, and how to run it again</h2>",
        f"<p class='note'>{html.escape(_describe_versions(table))} {html.escape(_describe_links(table, options))}</p>",
        write_origins(table, linked, find_address),
    ]
    head = (
        "<meta charset='utf-8'><meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{title}</title><style>{CSS}</style>"
    )
    return f"<!DOCTYPE html><html lang='en'><head>{head}</head><body>\n" + "\n".join(body) + "\n</body></html>\n"


def _list_children(table: RunTable) -> list[TrackedRun]:
    return [run for run in table.runs if run.tags.get(Tag.KIND) in ("child", "run")]


def _count(table: RunTable) -> str:
    children = _list_children(table)
    statuses = ", ".join(f"{count} {status}" for status, count in Counter(run.status for run in children).items())
    searches, ablations = table.list_searches(), table.list_ablations()
    count = (
        f"{pluralize(len(searches), 'search', 'searches')}, {pluralize(len(ablations), 'ablation')}, "
        f"{pluralize(len(children), 'run')}"
    )
    return f"{count} ({statuses})." if children else f"{count}."


def _describe_links(table: RunTable, options: ReportOptions) -> str:
    """Say where links lead; runs that were exported do not know their experiment, so that they have none."""
    if not any(run.experiment_id for run in table.runs):
        return "The runs were exported from a store, so that nothing here leads to MLflow's pages."
    return f"Links to MLflow open pages of its server at {options.server} while that runs (make ui)."


def _describe_versions(table: RunTable) -> str:
    """Name the versions of the program and of the data that any run has."""
    children = _list_children(table)
    versions = "; ".join(
        f"{name}: {', '.join(sorted({get_value(run) or 'none' for run in children}))}"
        for name, get_value in DIMENSIONS.items()
    )
    return f"Versions: {versions}."


@make_main(ReportOptions, __file__, __doc__)
def main(options: ReportOptions, console: Console) -> None:
    """Write the page."""
    table = options.read()
    check_file(options.file, "--out")
    text = write_page(table, options)
    with open_replacement(options.file) as file:
        file.write(make_printable(text).encode())
    console.print(str(options.file))


if __name__ == "__main__":
    sys.exit(main())
