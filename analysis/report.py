"""Write one page about an experiment: ``python analysis/report.py --experiment glyphs --out DIR``.

The page is a single file with tables, figures, what was run and how to run it again. Each figure of a table links to a
run in MLflow.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from analysis.figures.paper import Maker, plan_figures
from analysis.runs.comparable import DIMENSIONS
from analysis.runs.provenance import write_command
from analysis.runs.run_table import RunTable
from analysis.runs.source import MainOptions, make_main
from analysis.runs.trials import rank_trials
from analysis.tables.paper import make_tables
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.text import make_printable
from csg.messages.wording import format_numbers, pluralize
from csg.storage.files import check_file, replacing
from csg.tracking import TrackedRun
from csg.tracking.tags import Tag
from csg.tracking.view import make_run_address, read_description

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 78rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
figure { margin: 1.5rem 0; } figcaption { font-size: .85rem; color: #444; margin-bottom: .5rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; white-space: nowrap; }
th, td { padding: .2rem .7rem; text-align: right; } tbody th, thead th:first-child { text-align: left; }
thead { border-top: 2px solid #1b1b1b; border-bottom: 1px solid #1b1b1b; } tbody { border-bottom: 2px solid #1b1b1b; }
td a { color: inherit; text-decoration: none; border-bottom: 1px dotted #999; }
img { max-width: 100%; } .figures { display: flex; flex-wrap: wrap; gap: 1.5rem; } .figures figure { flex: 0 1 30rem; }
pre { background: #f4f4f4; padding: .6rem; overflow-x: auto; font-size: .8rem; }
.note { color: #444; font-size: .85rem; }
"""
"""The style of the page, which loads nothing from elsewhere."""


@dataclasses.dataclass(frozen=True)
class ReportOptions(MainOptions):
    """Flags of the script."""

    out: Path = Path("report.html")
    """Folder to write report.html to, or a file whose name ends in .html."""
    ui: str = "http://127.0.0.1:5000"
    """Address of MLflow's pages, for the links."""

    @property
    def file(self) -> Path:
        """The page's path."""
        return self.out if self.out.suffix.lower() == ".html" else self.out / "report.html"


def write_page(table: RunTable, options: ReportOptions) -> str:
    """Return the report as HTML."""
    runs = {run.run_id: run for run in table.runs}
    tables, refused = make_tables(table, main=options.main, mix=options.mix)

    def link(run_id: str) -> str:
        return options.ui + make_run_address(runs[run_id].experiment_id, run_id)

    parts = [
        f"<h1>{html.escape(table.experiment)}</h1>",
        f"<p>{html.escape(_summarise(table))}</p>",
        "<h2>Tables</h2>",
        *(each.to_html(link) for each in tables),
        *(f"<p class='note'>Not made: {html.escape(reason)}</p>" for reason in refused),
        "<h2>Figures</h2><div class='figures'>",
        *(_write_figure(name, draw) for name, draw in plan_figures(table, mix=options.mix).items()),
        "</div>",
        "<h2>What was run, and how to run it again</h2>",
        *_write_origins(table, link),
    ]
    head = f"<meta charset='utf-8'><title>{html.escape(table.experiment)}</title><style>{STYLE}</style>"
    return f"<!DOCTYPE html><html lang='en'><head>{head}</head><body>\n" + "\n".join(parts) + "\n</body></html>\n"


def _summarise(table: RunTable) -> str:
    children = [run for run in table.runs if run.tags.get(Tag.KIND) in ("child", "run")]
    statuses = ", ".join(f"{count} {status}" for status, count in Counter(run.status for run in children).items())
    versions = "; ".join(
        f"{name}: {', '.join(sorted({get_value(run) or 'none' for run in children}))}"
        for name, get_value in DIMENSIONS.items()
    )
    numbers = ((table.searches(), "search"), (table.ablations(), "ablation"), (children, "run"))
    count = ", ".join(pluralize(len(found), noun) for found, noun in numbers)
    return f"{count} ({statuses}). Versions: {versions}." if children else f"{count}."


def _write_figure(name: str, draw: Maker) -> str:
    try:
        drawn = draw()
    except UserError as error:
        return f"<p class='note'>{html.escape(name)}: {html.escape(str(error))}</p>"
    picture = io.BytesIO()
    drawn.savefig(picture, format="png")
    encoded = base64.b64encode(picture.getvalue()).decode()
    alt = html.escape(name.replace("_", " "), quote=True)
    return f"<figure id='figure-{alt}'><img alt='{alt}' src='data:image/png;base64,{encoded}'></figure>"


def _write_origins(table: RunTable, link: Callable[[str], str]) -> Iterator[str]:
    for search in table.searches():
        yield f"<h3>Search {html.escape(search.key)}</h3><p>{_write_note(search.parent)}</p>"
        for best in rank_trials(search.runs)[:1]:
            yield f"<p>Chosen: <a href='{html.escape(link(best.run_id))}'>{html.escape(best.name)}</a></p>"
            yield f"<pre>{html.escape(write_command(best.params))}</pre>"
    for ablation in table.ablations():
        yield f"<h3>Ablation {html.escape(ablation.key)}</h3><p>{_write_note(ablation.parent)}</p>"
        for cell in ablation.comparisons:
            runs = ablation.cell(cell)
            if runs:
                seeds = format_numbers("seed", [int(run.params["train.seed"]) for run in runs])
                yield f"<p class='note'>{html.escape(cell)}: {seeds}</p>"
                yield f"<pre>{html.escape(write_command(runs[0].params))}</pre>"


def _write_note(run: TrackedRun) -> str:
    return html.escape(read_description(run.tags.get(Tag.NOTE, run.name)))


@make_main(ReportOptions, __file__, __doc__)
def main(options: ReportOptions, console: Console) -> None:
    """Write the page."""
    table = options.read()
    check_file(options.file, "--out")
    text = write_page(table, options)
    with replacing(options.file) as file:
        file.write(make_printable(text).encode())
    console.print(str(options.file))


if __name__ == "__main__":
    sys.exit(main())
