"""What models predict on a few real images: class maps beside the labels, and A-pool's attention."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from analysis.figures import style
from analysis.runs.comparable import NoDataError, keep_comparable, keep_distinct
from analysis.runs.metrics import get_task, has_metrics, make_selectors
from analysis.runs.run_table import RunTable
from csg.data.pair import IGNORED
from csg.tracking import TrackedRun

Pictures = Mapping[str, npt.NDArray[Any]]
METHODS: Final = {"source_only": "source only", "csg": "CSG"}
"""The methods that are compared, in this order, with their headings."""
SHOWN: Final = 4
"""The largest number of images in a figure."""
TRIED: Final = 10
"""The number of a method's best runs in which pictures are looked for."""
YELLOW: Final = "#F0E442"
MORE: Final = (
    *("#8700F0", "#5A2D00", "#001E87", "#B4FFA5", "#5A4B5A", "#8769F0"),
    *("#3C004B", "#C3A55A", "#D20F3C", "#1E2D1E", "#A50087", "#69F0B4"),
)
"""Each differs as much as possible from those before it, from white and from the grey of void, to colour-blind eyes."""
CLASS_COLOURS: Final = (*style.PALETTE, YELLOW, *MORE)
"""Colours of classes, by index, with Okabe and Ito's first. They repeat beyond 20 classes."""
VOID: Final = "#B4B4B4"
HATCH: Final = "//////"
STAGES: Final = (3, 4)
"""The stages whose attention is shown."""


@dataclass(frozen=True)
class Shown:
    """A run and its pictures."""

    heading: str
    run: TrackedRun
    pictures: Pictures

    @property
    def text(self) -> str:
        """The run's name and seed, for a caption. The names of an ablation's runs contain their seed."""
        seed = f"seed {self.run.params.get('train.seed')}"
        name = self.run.name if self.run.name.endswith(seed) else f"{self.run.name}, {seed}"
        return f"{self.heading}: {name}"


def choose_runs(table: RunTable, *, mix: Collection[str] = ()) -> tuple[list[Shown], str]:
    """Return for each of ``METHODS`` the run with the best score on source/val that has pictures of the same images.

    Selection scores of different protocols cannot be compared, because they are of different streams.

    Returns:
        The runs, and a note for the caption on the runs that are left out.

    Raises:
        NoDataError: no finished run has pictures.
    """
    chosen = keep_comparable(keep_distinct(table.runs), mix=mix)
    found: list[Shown] = []
    without: list[TrackedRun] = []
    for method, heading in METHODS.items():
        runs = [run for run in chosen.runs if run.params.get("method.name") == method]
        for run in sorted(runs, key=_get_score, reverse=True)[:TRIED]:
            pictures = table.read_pictures(run)
            if pictures is None:
                without.append(run)
            if pictures is None or (found and not _have_same_images(pictures, found[0].pictures)):
                continue
            found.append(Shown(heading, run, pictures))
            break
    if not found:
        names = " or ".join(METHODS.values())
        raise NoDataError(
            f"no comparable finished run of {names} stored pictures (an exported folder has them with export_runs.py "
            f"--pictures).{table.describe_places(without)}{chosen.remedy}"
        )
    return found, chosen.note


def _get_score(run: TrackedRun) -> float:
    metric = make_selectors(get_task([run]))["source"].metric
    return run.metrics[metric] if has_metrics(run, metric) else -math.inf


def _have_same_images(one: Pictures, other: Pictures) -> bool:
    return bool(np.array_equal(one["images"], other["images"]) and np.array_equal(one["labels"], other["labels"]))


def draw_pictures(table: RunTable, *, mix: Collection[str] = ()) -> style.RunFigure:
    """Draw real images, their labels, and the class maps of each of ``METHODS``, in a row for each image.

    Raises:
        NoDataError: no finished run has pictures with a class for each pixel.
    """
    shown, note = choose_runs(table, mix=mix)
    first = shown[0].pictures
    if first["labels"].ndim != 3:
        raise NoDataError("the pictures have a class an image, and no class maps")
    count = min(len(first["images"]), SHOWN)
    headings = ["image", "label", *(each.heading for each in shown)]
    classes = _list_classes([first["labels"], *(each.pictures["predicted"] for each in shown)], count)
    legend_rows = math.ceil((len(classes) + 1) / 4)
    figure, grid = _make_grid(headings, count)
    for row in range(count):
        axes = grid[row * len(headings) :]
        axes[0].imshow(first["images"][row].transpose(1, 2, 0), interpolation="none")
        void = first["labels"][row] == IGNORED
        _draw_map(axes[1], first["labels"][row], void)
        for place, each in zip(axes[2:], shown, strict=False):
            _draw_map(place, each.pictures["predicted"][row], void)
    names = first.get("classes")
    handles = [
        Patch(
            facecolor=CLASS_COLOURS[index % len(CLASS_COLOURS)],
            label=str(index) if names is None else str(names[index]),
        )
        for index in classes
    ]
    if (first["labels"][:count] == IGNORED).any():
        handles.append(Patch(facecolor=VOID, hatch=HATCH, label="void (not counted)"))
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    _set_height(figure, first["images"], headings, count, above=0.1 + 0.13 * legend_rows)
    style.set_caption(figure, f"Images of target/test. {_describe_choice(shown)}{note}")
    figure.runs = [each.run for each in shown]
    return figure


def draw_attention(table: RunTable, *, mix: Collection[str] = ()) -> style.RunFigure:
    """Draw the attention that A-pool gives to each place of real images, with the encoder of each of ``METHODS``.

    Raises:
        NoDataError: no finished run has pictures.
    """
    shown, note = choose_runs(table, mix=mix)
    first = shown[0].pictures
    count = min(len(first["images"]), SHOWN)
    columns = [(each, stage) for each in shown for stage in STAGES]
    headings = ["image", *(f"{each.heading}\nstage {stage}" for each, stage in columns)]
    weights = [_divide_by_uniform(each.pictures[f"attention_stage{stage}"][:count]) for each, stage in columns]
    figure, grid = _make_grid(headings, count)
    top = max(float(np.quantile(np.concatenate([each.ravel() for each in weights]), 0.995)), 2.0)
    height, width = first["images"].shape[-2:]
    drawn = None
    for row in range(count):
        axes = grid[row * len(headings) :]
        image = first["images"][row].transpose(1, 2, 0)
        axes[0].imshow(image, interpolation="none")
        for place, each in zip(axes[1:], weights, strict=False):
            place.imshow(image.mean(axis=2), cmap="gray", vmin=0, vmax=255, interpolation="none")
            drawn = place.imshow(
                each[row],
                cmap="viridis",
                vmin=0,
                vmax=top,
                alpha=0.6,
                extent=(-0.5, width - 0.5, height - 0.5, -0.5),
                interpolation="nearest",
            )
    assert drawn is not None
    bar = figure.colorbar(drawn, ax=grid, location="top", shrink=0.6, aspect=40, pad=0.02)
    bar.ax.tick_params(labelsize=style.SMALL_SIZE, length=2)
    bar.set_label("attention, in multiples of an even weight", fontsize=style.SMALL_SIZE)
    caption = (
        "Images of target/test, and the weights that A-pool gives the places of an encoder's maps, 1 being the weight "
        f"of average pooling; one scale for all panels, which ends at 2 or at their 99.5th percentile. "
        f"{_describe_choice(shown)}{note}"
    )
    _set_height(figure, first["images"], headings, count, above=0.42)
    style.set_caption(figure, caption)
    figure.runs = [each.run for each in shown]
    return figure


def _make_grid(headings: Sequence[str], count: int) -> tuple[style.RunFigure, list[Axes]]:
    """Return a figure with ``count`` rows of panels without axes, below headings."""
    figure, grid = style.make_panels(count, len(headings), height=1, share_y=False)
    for axes in grid:
        axes.set_axis_off()
    for axes, heading in zip(grid, headings, strict=False):
        axes.set_title(heading, pad=2)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)  # type: ignore[union-attr, call-arg]
    return figure, grid


def _set_height(
    figure: style.RunFigure, images: npt.NDArray[Any], headings: Sequence[str], count: int, *, above: float
) -> None:
    """Make room for panels with the images' aspect ratio, the headings, and ``above`` inches."""
    height, width = images.shape[-2:]
    panel = (style.COLUMN - 0.1) / len(headings) * height / width + 0.03
    lines = max(heading.count("\n") for heading in headings) + 1
    figure.set_figheight(above + count * panel + style.LINE_HEIGHT * lines + 0.1)


def _draw_map(axes: Axes, labels: npt.NDArray[Any], void: npt.NDArray[np.bool_]) -> None:
    """Draw a class map (h, w), with void grey and hatched."""
    colours = np.array([to_rgb(colour) for colour in CLASS_COLOURS])
    picture = colours[np.maximum(labels, 0) % len(colours)]
    picture[void] = to_rgb(VOID)
    axes.imshow(picture, interpolation="none")
    if void.any():
        axes.contourf(void.astype(float), levels=[0.5, 1.5], colors="none", hatches=[HATCH])


def _list_classes(maps: Sequence[npt.NDArray[Any]], count: int) -> list[int]:
    """Return the classes in the first ``count`` of maps (M, h, w), in order."""
    return sorted({int(label) for each in maps for label in np.unique(each[:count])} - {IGNORED})


def _divide_by_uniform(weights: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return weights (M, h, w), which sum to 1 over a map, as multiples of an even weight."""
    return np.asarray(weights.astype(np.float64) * weights.shape[1] * weights.shape[2])


def _describe_choice(shown: Sequence[Shown]) -> str:
    runs = "; ".join(each.text for each in shown)
    words = get_task(each.run for each in shown).score_words
    chosen = f"Of each method the finished run with pictures of these images that has the best {words} on source/val"
    return f"{chosen} ({runs})."
