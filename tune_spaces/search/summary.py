"""The end of a search: which configuration generalises best, on what evidence, and what to type next."""

from __future__ import annotations

import statistics

from rich.text import Text

from analysis.figures.search_figures import write_search_figures
from analysis.runs.metrics import format_real_interval, has_metrics, is_mean, make_selectors
from analysis.runs.trials import rank_trials
from csg.commands.figures import NO_LABELLED_TARGET
from csg.commands.next_commands import find_program, print_next, show_in_mlflow
from csg.commands.remarks import print_remarks, remark_on_chance
from csg.data.held_out import list_removable_sources
from csg.data.pair import TARGET_TEST
from csg.messages.console import Console
from csg.messages.text import quote_for_shell
from csg.messages.wording import pluralize
from csg.parsing import build_config, overlay, to_yaml
from csg.tasks import find_task
from csg.tasks.task import Task
from csg.tracking import TrackedRun
from csg.tracking.tags import Tag
from csg.training.score_words import Unit, describe_queries
from csg.training.selection import ASKS, SELECTION_SCORE
from tune_spaces.execution.driver import Outcome
from tune_spaces.execution.recorder import UNKNOWN_ERROR
from tune_spaces.search.journal import Event
from tune_spaces.search.plan import Search


def conclude(search: Search, outcome: Outcome, console: Console) -> None:
    """Write best.yaml and the figures, attach them to the search's run, and print the result."""
    runs = outcome.tracker.read_children(outcome.parent, history=(search.score_metric,))
    events = search.journal.read_events()
    queries = record_result(search, outcome, runs, events)
    _log_figures(search, outcome, runs)
    _print_trials(outcome, runs, events, console)
    best = next(iter(rank_trials(runs)), None)
    if best is None:
        console.print("No trial of the space has finished yet, so there is no best configuration.")
        return
    _print_result(search, console, best, _list_finished(runs), queries=queries)
    _share_view_and_print_next(search, outcome, runs, console)


def record_result(search: Search, outcome: Outcome, runs: list[TrackedRun], events: list[Event]) -> int:
    """Keep with the search's run how many trials there are and which is the best, whose settings best.yaml gets.

    Args:
        search: what was planned.
        outcome: what came of it.
        runs: its trials.
        events: what its journal holds.

    Returns:
        How often a figure measured on real images reached the search.
    """
    queries = count_target_queries(events, search.config.selection.protocol)
    counts = {"trials": len(runs), "trials_finished": len(_list_finished(runs)), "target_queries": queries}
    outcome.tracker.log_metrics(outcome.parent, {name: float(count) for name, count in counts.items()})
    best = next(iter(rank_trials(runs)), None)
    if best is not None:
        _write_best(search, outcome, runs, best)
    return queries


def _list_finished(runs: list[TrackedRun]) -> list[TrackedRun]:
    return [run for run in runs if run.status == "finished"]


def _log_figures(search: Search, outcome: Outcome, runs: list[TrackedRun]) -> None:
    """Keep with the search's run the figures that show its trials."""
    tracker, space = outcome.tracker, search.space
    for path in write_search_figures(
        runs,
        score=search.score_metric,
        names=space.names,
        logarithmic=space.logarithmic,
        title=search.name,
        folder=search.folder,
    ):
        tracker.log_artifact(outcome.parent, path)


def _print_trials(outcome: Outcome, runs: list[TrackedRun], events: list[Event], console: Console) -> None:
    """Print how the trials ended and what they took, which failed, and how to go on with those that are left."""
    counts = {status: sum(run.status == status for run in runs) for status in ("finished", "stopped", "failed")}
    console.print()
    console.print(
        f"{', '.join(f'{n} {status}' for status, n in counts.items())}; {describe_cost(outcome, runs, events)}"
    )
    for run in runs:
        if run.status == "failed":
            reason = run.tags.get(Tag.ERROR, UNKNOWN_ERROR).partition("\n")[0][:200]
            console.print(Text("  failed", style="red"), f"{run.name}: {reason}")
    if said := describe_exhaustion(events):
        console.print(said)
    if outcome.ending != "complete":
        console.print(f"The search {outcome.reason}. Go on with it: the same command with --resume")


def _write_best(search: Search, outcome: Outcome, runs: list[TrackedRun], best: TrackedRun) -> None:
    """Write best.yaml, and mark the best trial in the store."""
    tracker = outcome.tracker
    with search.best.open_replacement() as file:
        file.write(format_best(search, best).encode())
    tracker.log_artifact(outcome.parent, search.best)
    tracker.log_metrics(outcome.parent, {f"best/{search.score_metric}": best.metrics[SELECTION_SCORE]})
    tracker.set_tags(outcome.parent, {"best.run_id": best.run_id, "best.config_id": best.tags[Tag.CONFIG_ID]})
    tracker.mark_best(runs, best)


def _share_view_and_print_next(search: Search, outcome: Outcome, runs: list[TrackedRun], console: Console) -> None:
    """Make the view of the search's trials, and print what may be typed next."""
    tracker = outcome.tracker
    verdict = tracker.read(outcome.parent).tags.get(Tag.VERDICT, "").splitlines()  # of an earlier confirmation
    view = tracker.share_view(search.make_view(outcome.parent, runs), search.study.description, verdict)
    again = f"{find_program('csg')} train --config {quote_for_shell(str(search.best))} --train.seed 1"
    compare = show_in_mlflow(tracker.uri, view)
    print_next({"Compare the runs": compare, "Train it again": again, "Figures": str(search.folder)}, console)


def describe_exhaustion(events: list[Event]) -> str:
    """Say that a search has ended before its number of trials, for want of other settings; empty where it has not."""
    tried = next((event.trial for event in events if event.kind == "exhausted"), None)
    return (
        "" if tried is None else f"The sampler has found nothing in the space to try after {pluralize(tried, 'trial')}."
    )


def count_target_queries(events: list[Event], protocol: str) -> int:
    """Count how often a figure measured on real images reached the search."""
    return sum(event.kind == "reported" for event in events) if ASKS[protocol] != "nothing" else 0


def format_best(search: Search, best: TrackedRun) -> str:
    """Write the best trial's settings, all of them, with the command that trains it."""
    settings = {name: best.params[name] for name in search.space.names if name in best.params}
    config = build_config(overlay(search.base, settings))
    head = (
        f"# {best.name}, the best of search {search.name}\n"
        f"# selected by {search.score_metric} = {best.metrics[SELECTION_SCORE]:.4f}\n"
        f"# csg train --config {quote_for_shell(str(search.best))} --train.seed 1\n"
    )
    return head + to_yaml(config)


def describe_cost(outcome: Outcome, runs: list[TrackedRun], events: list[Event]) -> str:
    """Say what the search took: time, what was not training, and disk."""
    overheads = measure_overheads(events, outcome.running_seconds)
    parts = [
        f"{outcome.startup_seconds + outcome.running_seconds:.0f} s ({outcome.startup_seconds:.0f} s of it start-up)"
    ]
    if overheads:
        parts.append(f"{statistics.median(overheads):.2f} s a trial beyond its training and evaluation (median)")
    sizes = [run.metrics["megabytes"] for run in runs if "megabytes" in run.metrics and run.status == "finished"]
    if sizes:
        parts.append(f"{statistics.mean(sizes):.0f} MB kept a finished trial")
    return ", ".join(parts)


def measure_overheads(events: list[Event], search_seconds: float) -> list[float]:
    """Measure, for each trial of this call, the time of its slot that was neither training nor measuring.

    A slot's time runs from the end of the trial before it to its own end. The first trials have none before them and
    are left out.
    """
    recent = [event for event in events if event.time >= events[-1].time - search_seconds]
    started = {event.trial: event.time for event in recent if event.kind == "suggested"}
    ended = {event.trial: event.time for event in recent if event.kind == "ended"}
    spent: dict[int, float] = {}
    for event in recent:
        spent[event.trial] = spent.get(event.trial, 0.0) + event.seconds
    overheads = []
    for trial, end in ended.items():
        before = [time for time in ended.values() if time <= started.get(trial, 0.0)]
        if before:
            overheads.append(end - max(before) - spent[trial])
    return overheads


def _print_result(
    search: Search, console: Console, best: TrackedRun, finished: list[TrackedRun], *, queries: int
) -> None:
    protocol = search.config.selection.protocol
    asked = describe_queries(queries, [protocol])
    console.print()
    console.print(Text("Best configuration", style="bold"), f"by {search.score_metric} (protocol {protocol}, {asked}):")
    for name in search.space.names:
        if name in best.params:
            value = best.params[name]
            console.print(f"  {name:<28} {value:.4g}" if isinstance(value, float) else f"  {name:<28} {value}")
    console.print()
    task = find_task(search.config.data)
    images = best.metrics.get(f"{TARGET_TEST}/images")
    if images is None:
        console.print(NO_LABELLED_TARGET)
    else:
        console.print(
            f"On the {pluralize(int(images), 'real image')} of target/test, which no search has seen"
            f"{' (95 % Wilson interval of the accuracy)' if task.one_label and not is_mean(best) else ''}:"
        )
    if search.cost:
        console.print("Each figure is the mean over trainings without each source; a verdict rests on all sources.")
    source_only = [run for run in finished if run.tags[Tag.ROLE] == "source_only"]
    default = [run for run in finished if run.tags[Tag.ROLE] == "default" and run is not best]
    for label, run in [
        ("best", best),
        *[("default setting", run) for run in default],
        *[("source only", r) for r in source_only],
    ]:
        console.print(f"  {label:<16} {format_real_figures(run, task, Unit.of(search.score_metric))}")
    print_remarks([remark_on_chance(best.metrics, search.config, search.pair)], console)


def show_other_choices(search: Search, outcome: Outcome, console: Console) -> None:
    """Print what the other scores that ask for no label would have chosen among the finished trials, and its cost."""
    runs = rank_trials(outcome.tracker.read_children(outcome.parent))
    task = find_task(search.config.data)
    metric = task.real_headline
    if len(runs) < 2 or metric not in runs[0].metrics:
        return
    choices: dict[str, list[str]] = {}
    lacking = 0
    by_id = {run.run_id: run for run in runs}
    for name, selector in make_selectors(task).items():
        scores = {run.run_id: run.metrics[selector.metric] for run in runs if has_metrics(run, selector.metric)}
        if selector.protocol == "held_out_source" and len(scores) < len(runs):
            lacking = len(runs) - len(scores)
            continue
        if scores and ASKS[selector.protocol] != "labels" and selector.metric != f"selected/{search.score_metric}":
            choices.setdefault(max(scores, key=lambda run_id: scores[run_id]), []).append(name)
    console.print()
    console.print(
        f"Of the {pluralize(len(runs), 'finished trial')}, other scores without labels would have chosen (real "
        f"{task.headline_words}, one seed; cost: what the chosen trial has more, in points). Whoever chooses a score "
        "by this list has looked at the labels:"
    )
    for run_id, names in sorted(choices.items(), key=lambda item: -by_id[item[0]].metrics[metric]):
        run = by_id[run_id]
        said = ", ".join(names).replace("unlabelled, ", "")
        cost = 100 * (runs[0].metrics[metric] - run.metrics[metric])
        console.print(f"  {100 * run.metrics[metric]:5.1f} %  cost {cost:+5.1f}  {run.name}: {said}")
    if lacking and list_removable_sources(search.pair):
        console.print(
            f"What held_out_source would have chosen was not measured: {pluralize(lacking, 'trial')} of {len(runs)} "
            f"{'has' if lacking == 1 else 'have'} no trainings without each source on record (--protocol "
            "held_out_source makes them)."
        )


def format_real_figures(run: TrackedRun, task: Task, unit: Unit) -> str:
    """Describe a finished run in one line: selection score, the task's figures on real images, energy."""
    selection = f"selection score {unit.format_whole(run.metrics[SELECTION_SCORE]):>7}"
    if f"{TARGET_TEST}/images" not in run.metrics:
        return selection
    overall, score = run.metrics[task.real_overall], run.metrics[task.real_score]
    energy = run.metrics.get(f"{TARGET_TEST}/E0_mhe")  # not with features that are not finite, or all zero
    interval = format_real_interval(run, overall) if task.one_label else ""
    return (
        f"{selection}   real {task.overall_words} {100 * overall:5.1f} %{interval}   {task.score_words} "
        f"{100 * score:5.1f} %   E_0 (mhe) {'-' if energy is None else f'{energy:.3f}'}"
    )
