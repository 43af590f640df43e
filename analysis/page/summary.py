"""The top of the page: what was asked, the answer, the best configuration, and how sure that is."""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from analysis.page.commands import write_command_block, write_with_flags
from analysis.page.tables import Link, name_anchor
from analysis.runs.comparable import collect_by_seed
from analysis.runs.metrics import format_real_interval, get_task, has_metrics, has_stream, is_mean
from analysis.runs.names import name_method, name_metric, name_setting
from analysis.runs.newest import CONFIRMATION, choose_main, name_ablation
from analysis.runs.run_table import AblationRuns, RunTable, SearchRuns
from analysis.runs.trials import rank_trials
from analysis.tables.cell_table import format_mean
from analysis.tables.comparisons import make_ablation_table
from analysis.tables.table import MISSING, Entry
from csg.data.pair import TARGET_TEST, TARGET_VAL
from csg.messages.errors import UserError
from csg.messages.wording import is_or_are, name_first, pluralize
from csg.tasks.task import Task
from csg.tracking import TrackedRun
from csg.tracking.tags import Tag
from csg.training.score_words import Unit, describe_queries
from csg.training.selection import SELECTION_SCORE

NO_VERDICT: Final = (
    "No verdict: the best configuration was not trained again under fresh seeds, and a search's own figures flatter "
    "its winner. The same command with --confirm-top 1 adds it."
)
NO_VERDICT_UNLABELLED: Final = (
    "No verdict: no label says how right the best configuration is on real images, and a search's own score flatters "
    "its winner."
)
ASKED, VERDICT, BEST, SURE = "What was asked", "Verdict", "Best configuration", "How sure"
LOOKS: Final = {BEST: "best", VERDICT: "verdict"}
"""The class of an answer's element, if it looks otherwise than text."""


def write_summary(table: RunTable, link: Link, *, main: str = "", mix: Collection[str] = ()) -> str:
    """Return what the newest search and the main ablation of each task came to.

    Args:
        table: the runs.
        link: returns the address of a run within the page, by the run's id.
        main: the ablation that counts, a design or a key; see :func:`analysis.runs.newest.choose_main`.
        mix: in what the runs of one ablation may differ.
    """
    cards = []
    parts = table.divide_by_task()
    for task, part in parts.items():
        suffix = f"_{task}" if len(parts) > 1 else ""
        searches = [search for search in part.list_searches() if search.runs]
        cards += [_write_search(part, search, link, suffix) for search in searches[-1:]]
        own = [each for each in part.list_ablations() if not each.design.startswith(CONFIRMATION) and each.finished]
        if own:
            cards.append(_write_ablation(part, choose_main(own, main).ablation, mix, suffix))
    return "\n".join(cards) or "<p>No search and no ablation has finished a run yet.</p>"


def _write_search(table: RunTable, search: SearchRuns, link: Link, suffix: str) -> str:
    """Return what a search came to; ``suffix`` ends the names of its task's tables."""
    task = get_task(search.runs)
    best = next(iter(rank_trials(search.runs)), None)
    rows = {ASKED: _write_question(search, task)}
    if best is None:
        rows[VERDICT] = _make_paragraphs(["No trial of the space has finished yet."])
        return _fill(f"Search {search.key}", rows)
    missing = NO_VERDICT if has_stream(search.runs, TARGET_TEST) else NO_VERDICT_UNLABELLED
    verdict = search.verdict or [*_describe_trials(search, best, task), missing]
    rows[VERDICT] = _make_paragraphs(_lead(verdict))
    default = next((run for run in search.runs if run.tags.get(Tag.ROLE) == "default"), None)
    rows[BEST] = (
        f"<p><a href='{html.escape(link(best.run_id))}'>Trial {html.escape(best.name)}</a></p>"
        f"{_write_settings(search.names, best, default)}"
        f"<details><summary>The command that trains it</summary>{write_command_block(best)}"
        "</details>"
    )
    rows[SURE] = _write_evidence(table, search, suffix)
    return _fill(f"Search {search.key}", rows)


def _write_question(search: SearchRuns, task: Task) -> str:
    """Say what the search looked for, where, and by what it chose."""
    methods = Counter(
        str(run.params.get("method.name")) for run in search.runs if run.tags.get(Tag.ROLE) != "source_only"
    )
    method = name_method(next(iter(methods.most_common(1)))[0]) if methods else "the method"
    data = next((text for run in search.runs if (text := run.tags.get("data.description"))), "")
    statuses = Counter(run.status for run in search.runs)
    ended = ", ".join(f"{count} {status}" for status, count in statuses.items())
    looks = describe_queries(int(search.parent.metrics.get("target_queries", 0)), [search.protocol])
    where = f"{data[0].upper()}{data[1:]}. " if data else ""
    varied = _join(list(map(name_setting, search.names)))
    on_real = " on real images" if has_stream(search.runs, TARGET_TEST, TARGET_VAL) else ""
    return _make_paragraphs([f"Which settings of {method} are best{on_real}?"]) + _write_note(
        f"{where}{pluralize(len(search.runs), 'trial')} ({ended}) varied {varied}. "
        f"The search chose by {name_metric(search.score)} (protocol {search.protocol}, {looks}); "
        f"{_say_what_is_measured(search, task)}."
    )


def _say_what_is_measured(search: SearchRuns, task: Task) -> str:
    """Say on which real images it is measured how right the trials are, or why on none."""
    if has_stream(search.runs, TARGET_TEST):
        return f"real {task.headline_words} is measured on images that no search sees"
    if has_stream(search.runs, TARGET_VAL):
        return f"the real images have no labels to test with, so that no {task.headline_words} on them is known"
    return f"the data have no real images, so that no {task.headline_words} on any is known"


def _describe_trials(search: SearchRuns, best: TrackedRun, task: Task) -> Iterator[str]:
    """Say how right the best trial and source only are under the search's one seed."""
    metric = task.real_headline
    if not has_metrics(best, metric):
        score = Unit.of(search.score).format_whole(best.metrics[SELECTION_SCORE])
        yield f"Trial {best.name} has the best score, {score}."
        return
    finished = [run for run in search.runs if run.status == "finished" and has_metrics(run, metric)]
    source_only = next((run for run in finished if run.tags.get(Tag.ROLE) == "source_only"), None)
    beside = f", source only {_format_real(source_only, task)}" if source_only else ""
    what = (
        "the trainings of the best trial, each without a source, have a mean"
        if is_mean(best)
        else "the best trial has a"
    )
    yield f"Under one seed {what} real {task.headline_words} of {_format_real(best, task)}{beside}."


def _format_real(run: TrackedRun, task: Task) -> str:
    value = run.metrics[task.real_headline]
    return f"{100 * value:.1f} %" + (format_real_interval(run, value) if task.one_label else "")


def _lead(verdict: Sequence[str]) -> list[str]:
    """Put the sentence with the figures first: it alone can be understood without the others."""
    return sorted(verdict, key=lambda sentence: not sentence.startswith("Under"))


def _write_settings(names: Sequence[str], best: TrackedRun, default: TrackedRun | None) -> str:
    """Return the searched settings of the best trial, beside the default's."""
    beside = [default] if default is not None and default.run_id != best.run_id else []
    rows = {
        f"{html.escape(name_setting(name))}<br><code>--{html.escape(name)}</code>": [
            _format_value(run.params, name) for run in (best, *beside)
        ]
        for name in names
        if best.params.get(name) is not None
    }
    return _write_small_table(["setting", "best", "default"][: 2 + len(beside)], rows)


def _write_small_table(headings: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """Return a table; the labels and values of ``rows`` are HTML."""
    head = "".join(f"<th scope='col'>{_escape(each)}</th>" for each in headings)
    body = "".join(
        f"<tr><th scope='row'>{label}</th>{''.join(f'<td>{value}</td>' for value in values)}</tr>"
        for label, values in rows.items()
    )
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _format_value(params: Mapping[str, Any], name: str) -> str:
    value = params.get(name)
    if value is None:
        return MISSING
    return f"{value:.3g}" if isinstance(value, float) else html.escape(str(value))


def _write_evidence(table: RunTable, search: SearchRuns, suffix: str) -> str:
    """Return the figures under fresh seeds that the verdict rests on, or those of the search where there are none."""
    task = get_task(search.runs)
    ablations = table.list_ablations()
    again = [each for each in ablations if each.design == f"{CONFIRMATION}{search.key}" and each.finished]
    is_measured = has_stream(search.runs, TARGET_TEST)
    if not again:
        intervals = ", and intervals are over the test images alone" if is_measured and task.one_label else ""
        remedy = "" if is_measured else " The same command with --confirm-top 1 trains it again under fresh seeds."
        return _make_paragraphs([f"One seed a trial: the spread over seeds is unknown{intervals}.{remedy}"])
    unit = Unit(100.0, "%", 1) if is_measured else Unit.of(search.score)
    metric = task.real_headline if is_measured else SELECTION_SCORE
    words = f"real {task.headline_words}" if is_measured else name_metric(search.score)
    rows = {}
    for cell, runs in again[-1].finished_cells.items():
        values = [run.metrics[metric] for run in runs if has_metrics(run, metric)]
        mean = format_mean([unit.factor * value for value in values], unit.decimals)
        rows[html.escape(cell)] = [_escape(mean), ", ".join(map(unit.format, values))]
    name = name_anchor(f"ablation_{name_ablation(again[-1], ablations)}{suffix}")
    return (
        f"{_write_small_table(['', unit.name(words), 'seed by seed'], rows)}"
        f"<p class='note'>Mean ± sample standard deviation over fresh seeds; <a href='#{name}'>the tests</a>. These "
        f"seeds{' and the images of target/test' if is_measured else ''} had no part in the choice.</p>"
    )


def _write_ablation(table: RunTable, ablation: AblationRuns, mix: Collection[str], suffix: str) -> str:
    """Return what an ablation compares, its best cell, and what cannot be told from that."""
    seeds = {run.params["train.seed"] for run in ablation.runs if run.params}
    runs = f"{len(ablation.finished)} of {pluralize(len(ablation.runs), 'run')} finished"
    asked = (
        f"{ablation.title}: {pluralize(len(ablation.comparisons), 'configuration')} under "
        f"{pluralize(len(seeds), 'seed')} each, {runs}."
    )
    rows = {ASKED: _make_paragraphs([asked])}
    try:
        made = make_ablation_table(ablation, mix=mix)
    except UserError as error:
        rows[VERDICT] = _make_paragraphs([f"None: {error}."])
        return _fill(f"Ablation {ablation.design}", rows)
    heading = made.cells.columns[1]
    entries = made.cells[heading]
    best = [str(cell) for cell, entry in entries.items() if entry.emphasis == "best"]
    alike = [str(cell) for cell, entry in entries.items() if entry.emphasis == "not distinguishable"]
    if not best:
        rows[VERDICT] = _make_paragraphs(["None: no configuration has a figure under every seed."])
        return _fill(f"Ablation {ablation.design}", rows)
    name = name_anchor(f"ablation_{name_ablation(ablation, table.list_ablations())}{suffix}")
    figure = f"{heading.removesuffix(' %')} of {entries[best[0]].text} %"
    rows[VERDICT] = _make_paragraphs([f"{_join(_quote(best))} {is_or_are(len(best))} best, with a {figure}."])
    sure = _say_how_sure(ablation, dict(entries), best, alike) if len(seeds) > 1 else "One seed: nothing can be tested."
    rows[SURE] = f"{_make_paragraphs([sure])}<p class='note'><a href='#{name}'>The table</a> has every test.</p>"
    return _fill(f"Ablation {ablation.design}", rows)


def _say_how_sure(
    ablation: AblationRuns, entries: Mapping[Any, Entry], best: Sequence[str], alike: Sequence[str]
) -> str:
    """Say which cells cannot be told from the best, and which were not compared with it.

    Args:
        ablation: the runs.
        entries: of the table's first figure, by cell.
        best: the best cells.
        alike: cells that the table marks as not distinguishable from them.
    """
    metric = entries[best[0]].metric
    seeds = {
        str(cell): {
            seed
            for seed, value in collect_by_seed(ablation.finished_cells[str(cell)], metric).items()
            if math.isfinite(value)
        }
        for cell in entries
    }
    others = [cell for cell in seeds if cell not in (*best, *alike)]
    untested = [cell for cell in others if len(seeds[cell] & seeds[best[0]]) < 2]
    said = []
    if alike:
        it = "it" if len(best) == 1 else "them"
        said.append(f"{name_first(_quote(alike))} cannot be told from {it} by these seeds.")
    elif others and not untested:
        said.append("By these seeds it differs from all others (paired t tests, Holm-corrected, 5 %).")
    if untested:
        said.append(f"Not compared, for want of two seeds in common: {name_first(_quote(untested))}.")
    return " ".join(said) or "There is nothing to compare it with."


def _join(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def _quote(names: Sequence[str]) -> list[str]:
    return [f"“{name}”" for name in names]


def _write_note(text: str) -> str:
    return f"<p class='note'>{_escape(text)}</p>"


def _escape(text: str) -> str:
    """Escape a text, and keep a number, its spread and its percent sign on one line."""
    return _bind(html.escape(text))


def _bind(markup: str) -> str:
    return re.sub(" (?=[%±])|(?<=±) ", "&nbsp;", markup)


def _make_paragraphs(sentences: Sequence[str]) -> str:
    return "".join(f"<p>{_bind(write_with_flags(sentence))}</p>" for sentence in sentences)


def _fill(title: str, rows: Mapping[str, str]) -> str:
    """Return a card; the values of ``rows`` are HTML."""
    entries = "".join(
        f"<div class='{LOOKS.get(name, '')}'><dt>{name}</dt><dd>{text}</dd></div>" for name, text in rows.items()
    )
    return f"<section class='summary'><h3>{html.escape(title)}</h3><dl>{entries}</dl></section>"
