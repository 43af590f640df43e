"""``csg evaluate --checkpoint``: measure finished runs on another labelled set, and record that in MLflow."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import torch
from rich.table import Table

from csg.commands.tracked_training import NO_STORE
from csg.config import Config
from csg.config.names import make_set_prefix
from csg.config.settings import Flat, find_places, flatten, format_flag
from csg.data.labelled_set import load_labelled_set
from csg.data.pair import Pair, Stream
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.text import get_first_line, make_one_line, quote_for_shell
from csg.messages.wording import name_first, pluralize
from csg.parsing import ConfigOptions, Flags, build_config
from csg.storage.address import get_last_part, get_sqlite_path
from csg.storage.layout import place_to_read, reach_addresses
from csg.storage.place import Place
from csg.tasks import find_task
from csg.tasks.measurement import Inference
from csg.training.evaluation import compute_energies, compute_figures
from csg.training.identity import find_run_folder
from csg.training.selected import Selected, load_selected

HOW: Final = (
    *("data.on_bad_image", "data.max_megapixels", "data.grey_bits", "data.workers"),
    *("train.device", "train.threads", "train.evaluation_batch_size", "train.energy_samples"),
)
"""Settings of the measuring, which a flag or --config may set beside the weights' own."""
WHERE: Final = (
    *("data.name", "data.root", "data.target", "data.target_split", "data.target_ids", "data.class_map", "data.cache"),
)
"""Settings that say where the set is."""
LAID_OUT_AS: Final = {"classification": "folders", "segmentation": "gta5_cityscapes"}
"""``data.name`` of a set unless a flag or --config says it, by the task."""


@dataclasses.dataclass(frozen=True)
class SetOptions(ConfigOptions):
    """Flags that measure finished runs on another labelled set."""

    checkpoint: tuple[str, ...] = ()
    """Selected weights of finished runs (selected.pt), to be measured on the labelled set that --data.target names, a
    sub-folder a class; or on that of --data.name visda17 or gta5_cityscapes."""
    name: str | None = None
    """With --checkpoint: name of the set in MLflow and in tables (default: its folder's)."""
    tracking_uri: str | None = None
    """With --checkpoint: MLflow store or server that has the runs, or "none" (default: SQLite beside them)."""


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """What a run showed on a set."""

    selected: Selected
    metrics: dict[str, float]
    """By name: ``evaluated/NAME/...``."""
    missing: tuple[str, ...]
    """Classes of which the set has no labelled image."""


def evaluate_set(flags: Flags[Any], console: Console) -> int:
    """Measure every checkpoint on the set, print what it showed, and record it.

    Returns:
        0, or 130 after Ctrl-C.

    Raises:
        UserError: a flag makes no sense with weights, one of them cannot be used, or the set has other classes.
        TrackingAwayError: the MLflow store does not answer.
    """
    options: SetOptions = flags.options
    _refuse_other_settings(flags)
    where = _find_set(flags)
    name = _name_set(options, where)
    chosen = [load_selected(place_to_read(text, "--checkpoint")) for text in options.checkpoint]
    measured: list[Evaluated] = []
    try:
        for selected in chosen:
            config = _configure(selected, flags)
            stream = _load_set(selected, config, where)
            measured.append(measure_set(selected, config, stream, name))
            _print_run(measured[-1], name, console)
            _record(measured[-1], stream, options, name, console)
    except KeyboardInterrupt:
        console.print(f"Interrupted; {pluralize(len(measured), 'run')} of {len(chosen)} measured.")
        return 130
    if len(measured) > 1:
        _print_table(measured, name, console)
    return 0


def _load_set(selected: Selected, config: Config, where: Flat) -> Stream:
    """Load the set with the classes of a run, at the size that it sees.

    Raises:
        UserError: it is for another task, or see :func:`csg.data.labelled_set.load_labelled_set`.
    """
    task = config.data.task
    data = dataclasses.replace(config.data, **{"name": LAID_OUT_AS[task], **where})
    if data.task != task:
        raise UserError(f"data.name: expected a set for {task}, as {selected.place} is trained, found {data.name}")
    reach_addresses(find_places(data, "read", "data."))
    return load_labelled_set(data, selected.classes, side=config.data.image_size)


def measure_set(selected: Selected, config: Config, stream: Stream, name: str) -> Evaluated:
    """Measure weights on a labelled set as target/test is measured.

    Raises:
        UserError: the weights do not fit, or an image cannot be read.
    """
    torch.set_num_threads(config.train.threads)
    at, task = make_set_prefix(name), find_task(config.data)
    pair = Pair(name, selected.classes, {at: stream}, selected.flip_averaging, name)
    measured = task.measure(Inference(selected.build_model(config), config), config, pair, at)
    metrics = compute_figures(at, measured, config) | compute_energies(at, measured, config)
    metrics[f"{at}/images"] = float(len(measured.features))
    labelled = measured.confusion.sum(dim=1).tolist()
    for label, value in enumerate(task.compute_class_figures(measured)):
        if labelled[label]:
            metrics[f"{at}/{task.by_class}/{selected.classes[label]}"] = value
    missing = tuple(each for each, count in zip(selected.classes, labelled, strict=True) if not count)
    return Evaluated(selected, metrics, missing)


def _refuse_other_settings(flags: Flags[Any]) -> None:
    """Refuse settings that come with the weights."""
    other = next((name for name in sorted(flags.stated) if name not in (*HOW, *WHERE)), None)
    if other is not None:
        where = format_flag(other) if other in flags.given else f"--config: {other}"
        raise UserError(
            f"{where}: expected only where the set lies and how it is measured "
            f"({', '.join(map(format_flag, (*WHERE, *HOW)))}) with --checkpoint, whose weights bring all other settings"
        )
    if flags.options.streams:
        raise UserError("--streams: expected none with --checkpoint, which is measured on the set alone")


def _find_set(flags: Flags[Any]) -> Flat:
    """Return the data settings that say where the set is; all others that name a folder of images are unset.

    Raises:
        UserError: none does.
    """
    flat = flatten(flags.config)
    given = {name.removeprefix("data."): flat[name] for name in flags.stated if name in WHERE}
    if given.get("target") is None and given.get("root") is None:
        raise UserError(
            "--checkpoint: expected a labelled set to measure on, found none; name it: --data.target DIR with one "
            "sub-folder a class, or --data.name visda17 --data.root DIR"
        )
    nothing = dict.fromkeys(("root", "source", "target", "target_unlabelled", "class_map"))
    return {**nothing, "cache": flags.config.data.cache, **given}


def _name_set(options: SetOptions, where: Flat) -> str:
    """Return the name of the set, a part of the names of its metrics.

    Raises:
        UserError: it has other characters than such a part can have.
    """
    if options.name is not None:
        make_set_prefix(options.name)
        return options.name
    folder = get_last_part(str(where["target"] or where["root"]))
    make_set_prefix(folder, ", the name of its folder; give it another with --name")
    return folder


def _configure(selected: Selected, flags: Flags[Any]) -> Config:
    """Return a run's configuration, to be measured as the flags say."""
    flat = flatten(flags.config)
    stated = {name: flat[name] for name in flags.stated if name in HOW}
    return build_config(flatten(selected.configure_for(stated.get("train.device"))) | stated)


def _print_run(found: Evaluated, name: str, console: Console) -> None:
    selected = found.selected
    console.print(f"{selected.config.method.summary} seed {selected.config.train.seed} on {name}: {selected.place}")
    if found.missing:
        of = f"{len(found.missing)} of {pluralize(len(selected.classes), 'class', 'classes')}"
        console.print(f"{name} has no labels of {of}, which count nowhere: {name_first(found.missing)}", style="yellow")
    for metric, value in found.metrics.items():
        console.print(f"{make_one_line(metric):<36} {value:.6g}")


def _print_table(measured: list[Evaluated], name: str, console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    task = find_task(measured[0].selected.config.data)
    for heading in ("run", "seed", f"{task.score_words} %", f"{task.overall_words} %"):
        table.add_column(heading, justify="left" if heading == "run" else "right", no_wrap=True)
    for each in measured:
        figures = (f"{100 * each.metrics[f'{make_set_prefix(name)}/{of}']:.1f}" for of in (task.score, task.overall))
        config = each.selected.config
        table.add_row(make_one_line(config.method.summary), str(config.train.seed), *figures)
    console.print(table)


def _record(found: Evaluated, stream: Stream, options: SetOptions, name: str, console: Console) -> None:
    """Write the figures to every run of this identity in the store, and say so.

    Raises:
        UserError: the store that was named refuses.
        TrackingAwayError: the store does not answer.
    """
    if options.tracking_uri == NO_STORE:
        return
    place: Place = found.selected.place
    run = find_run_folder(place)
    if run is None:
        console.print(f"Not recorded: {place} does not lie in the folder of a run", style="yellow")
        return
    from csg import tracking

    uri = options.tracking_uri or tracking.get_default_tracking_uri(run.output)
    beside = get_sqlite_path(uri)
    if options.tracking_uri is None and beside is not None and not beside.exists():
        console.print(f"Not recorded: there is no MLflow store at {beside}", style="yellow")
        return
    try:
        runs = tracking.record_evaluation(
            uri, run.name, set_name=name, fingerprint=stream.fingerprint[:16], metrics=found.metrics
        )
    except tracking.TrackingError as error:
        raise tracking.make_recording_error(get_first_line(str(error)), tracking.describe_refusal(error)) from None
    if runs:
        console.print(f"recorded with {pluralize(runs, 'run')} in {uri}")
    else:
        console.print(f"Not recorded: no run of {run.name} in {uri}; {_advise(found)}", style="yellow")


def _advise(found: Evaluated) -> str:
    """Say what to do where the store has no run: that of a trial under held_out_source is of several trainings."""
    left_out = found.selected.config.data.held_out
    if left_out is None:
        return "name its store with --tracking-uri"
    return (
        f"it is the training without {make_one_line(left_out)}, and a trial under held_out_source has one run for all "
        "such trainings, whose figures are means; give it a run of its own by csg train with its settings "
        f"(--data.held-out {quote_for_shell(left_out)} among them), which trains nothing again, or, if it has one, "
        "name its store with --tracking-uri"
    )
