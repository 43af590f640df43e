"""Features of real images in the plane, with their density and hyperspherical energy: the paper's Figure 2.

Each feature is divided by its length, as for its energy. The unit vectors of *all* panels are pooled and projected onto
the first two principal components of the pool. So all panels show one plane, and positions and spreads can be compared
by eye. Positions mean the same in all panels if the models started as the same network, as the cells of an ablation do.
The caption has the share of the pool's variance that lies in the plane. The density is estimated in the plane; the
energies are those of the whole features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from scipy.stats import gaussian_kde
from sklearn.decomposition import PCA

from analysis.figures import style
from analysis.inference.bootstrap import Floats, Ints
from csg.messages.wording import pluralize

COLUMNS = 3
"""Panels side by side in a paper's column."""
GRID = 120
"""The points on each side of the grid on which densities are evaluated."""
COLOURS = style.PALETTE[:-1]
"""Of classes; without black, which is the density's."""
KEYS_A_ROW, KEYS_A_COLUMN = 5, 8
"""Classes side by side in the legend above the panels, and below each other where it has a panel's place."""
LEGEND: Final[dict[str, Any]] = {"handletextpad": 0, "columnspacing": 0.8}
SHADES = 6
"""Each is twice as dense as the one before; the darkest ends at the highest density of all panels."""


@dataclass(frozen=True)
class Panel:
    """One model's features of real images."""

    name: str
    features: npt.NDArray[np.floating]
    """(M, C), not normalised."""
    labels: Ints
    """(M,) class indices; all the same if images have no class."""
    e0: float
    """E_0 in the convention mhe, log(1 / d^2), of all test images, including those whose features are not here."""
    e1: float
    e2: float


def normalise_features(features: npt.NDArray[np.floating]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Divide features (M, C) by their lengths, in float64.

    Returns:
        The unit vectors of the features that are not zero, and which features these are, (M,).

    Raises:
        ValueError: no (M, C) matrix of finite numbers.
    """
    wide = np.asarray(features, dtype=np.float64)
    if wide.ndim != 2 or not np.isfinite(wide).all():
        raise ValueError(f"features: expected a finite (M, C) matrix, found shape {wide.shape} or non-finite values")
    lengths = np.linalg.norm(wide, axis=1)
    return wide[lengths > 0] / lengths[lengths > 0, None], lengths > 0


def fit_plane(groups: Sequence[Floats]) -> PCA:
    """Fit the first two principal components of the vectors of all groups, each (M, C).

    The largest entry of each component is positive, so that equal features give equal pictures.

    Raises:
        ValueError: vectors of different widths, of one entry, or that are all the same.
    """
    widths = {group.shape[1] for group in groups}
    if len(widths) != 1 or widths == {1}:
        found = ", ".join(map(str, sorted(widths)))
        raise ValueError(f"features: expected one width above 1 in all panels, found {found}: draw one encoder's only.")
    pooled = np.concatenate(groups)
    count = len(pooled)
    if count < 2 or not pooled.var(axis=0).sum() > 1e-12:
        raise ValueError(f"features: expected vectors that differ, found {count} without any spread; there is no plane")
    return PCA(2, svd_solver="covariance_eigh").fit(pooled)


def draw_feature_density(
    panels: Sequence[Panel], *, note: str = "", class_names: Sequence[str] = ()
) -> style.RunFigure:
    """Draw panels side by side in one plane, each with its density and, below, its energies.

    Args:
        panels: at least one; their features have one width.
        note: the first sentence of the caption, which says what the features are.
        class_names: by class index; a class beyond them has its number.

    Raises:
        ValueError: no panel, or features that :func:`fit_plane` refuses.
    """
    if not panels:
        raise ValueError("panels: expected at least one, found none: say why there is no figure instead.")
    made = [normalise_features(panel.features) for panel in panels]
    plane = fit_plane([vectors for vectors, _ in made])
    places = [np.asarray(plane.transform(vectors)) for vectors, _ in made]
    labels = [panel.labels[directed] for panel, (_, directed) in zip(panels, made, strict=True)]
    columns = 2 if len(panels) == 4 else min(len(panels), COLUMNS)
    rows = math.ceil(len(panels) / columns)
    names = [style.balance_lines(panel.name, 62 // columns) for panel in panels]
    lines = sum(max(name.count("\n") + 1 for name in names[row * columns :][:columns]) for row in range(rows))
    classes = np.unique(np.concatenate(labels))
    keys = _make_legend(classes, class_names)
    beside = rows * columns > len(panels) and len(keys) <= 2 * KEYS_A_COLUMN
    above = 0 if beside else math.ceil(len(keys) / KEYS_A_ROW)
    height = 0.1 + 0.13 * (lines + above) + rows * (0.42 + 3.1 / columns)
    figure, grid = style.make_panels(rows, columns, height=height, share_x=True)
    centre, half = _fit_frame(np.concatenate(places))
    densities = [_estimate_density(placed, centre, half) for placed in places]
    top = max((float(density.max()) for density in densities if density is not None), default=0.0)
    for axes, placed, label, density in zip(grid, places, labels, densities, strict=False):
        _draw_density(axes, density, top, centre, half)
        _draw_points(axes, placed, label, classes)
    for axes, panel, name in zip(grid, panels, names, strict=False):
        _frame_axes(axes, panel, name, centre, half)
    empty = grid[len(panels) :]
    for axes in empty:
        axes.set_axis_off()
    if keys and beside:
        empty[0].legend(handles=keys, loc="center", ncols=math.ceil(len(keys) / KEYS_A_COLUMN), **LEGEND)
    elif keys:
        figure.legend(handles=keys, loc="outside upper center", ncols=KEYS_A_ROW, **LEGEND)
    dropped = sum(int((~directed).sum()) for _, directed in made)
    sentences = _describe(plane, list(map(len, places)), densities, dropped, coloured=len(classes) > 1)
    style.set_caption(figure, " ".join(filter(None, [note, *sentences])))
    return figure


def _fit_frame(places: Floats) -> tuple[Floats, float]:
    """Return the centre and half the side of the square that holds all places, (N, 2), with a margin."""
    low, high = places.min(axis=0), places.max(axis=0)
    return (low + high) / 2, 0.6 * float((high - low).max())


def _estimate_density(places: Floats, centre: Floats, half: float) -> Floats | None:
    """Evaluate a Gaussian kernel density (Scott's rule) over the frame, (GRID, GRID); None if it is undefined."""
    # Whether a singular covariance is found to be so is a matter of rounding, which differs between machines.
    if np.linalg.matrix_rank(places - places.mean(axis=0), rtol=1e-6) < 2:
        return None  # there are fewer than 3 points, or all lie on a line
    estimate = gaussian_kde(places.T)
    steps = np.linspace(-half, half, GRID)
    across, up = np.meshgrid(centre[0] + steps, centre[1] + steps)
    return np.asarray(estimate(np.stack([across.ravel(), up.ravel()])).reshape(GRID, GRID))


def _draw_density(axes: Axes, density: Floats | None, top: float, centre: Floats, half: float) -> None:
    if density is None:
        return
    steps = np.linspace(-half, half, GRID)
    levels = [top * 2.0 ** (step - SHADES) for step in range(SHADES + 1)]
    shades = [str(round(0.98 - 0.25 * (step + 1) / SHADES, 3)) for step in range(SHADES)]
    axes.contourf(centre[0] + steps, centre[1] + steps, density, levels=levels, colors=shades, zorder=1)


def _draw_points(axes: Axes, places: Floats, labels: Ints, classes: Ints) -> None:
    for index, name in enumerate(classes):
        shape, colour = style.choose_mark(index, COLOURS)
        chosen = places[labels == name]
        area = style.scale_mark(4, len(places))
        axes.scatter(chosen[:, 0], chosen[:, 1], s=area, marker=shape, c=colour, alpha=0.8, lw=0, zorder=2)


def _make_legend(classes: Ints, names: Sequence[str]) -> list[Line2D]:
    """Return the mark of each class with its name; none for a single class, or more than have marks of their own."""
    if not 1 < len(classes) <= len(COLOURS) * len(style.SHAPES):
        return []
    keys = []
    for index, number in enumerate(classes):
        shape, colour = style.choose_mark(index, COLOURS)
        name = names[number] if number < len(names) else str(number)
        keys.append(Line2D([], [], ls="", marker=shape, ms=3, color=colour, label=name))
    return keys


def _frame_axes(axes: Axes, panel: Panel, name: str, centre: Floats, half: float) -> None:
    axes.set_aspect("equal")
    axes.set_xlim(centre[0] - half, centre[0] + half)
    axes.set_ylim(centre[1] - half, centre[1] + half)
    axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
    axes.spines[["top", "right"]].set_visible(True)
    axes.spines[:].set_linewidth(0.5)
    axes.set_title(name, fontsize=style.TEXT_SIZE, pad=3)
    energies = f"E_0 (mhe) {_format(panel.e0)}\nE_1 {_format(panel.e1)}  E_2 {_format(panel.e2)}"
    axes.set_xlabel(energies, fontsize=style.SMALL_SIZE, labelpad=2)


def _format(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"


def _describe(
    plane: PCA, counts: Sequence[int], densities: Sequence[Floats | None], dropped: int, *, coloured: bool
) -> list[str]:
    """Return sentences on how to read the panels."""
    images = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    first, second = (100 * share for share in plane.explained_variance_ratio_)
    colours = ", coloured by class" if coloured else ""
    sentences = [
        f"Points: l2-normalised features of {images} real test images a panel{colours}, on the first two principal "
        f"components of all panels' features pooled ({first:.1f} % and {second:.1f} % of the variance); axes are the "
        "same in all panels.",
        "Grey: Gaussian kernel density (Scott's rule); from shade to shade it doubles, alike in all panels.",
        "Below: hyperspherical energy of the whole features of all test images, E_0 in the convention mhe, log(1/d²); "
        "lower is more diverse.",
    ]
    if any(density is None for density in densities):
        sentences.append("No shades: the points of that panel are too few, or lie on a line.")
    if dropped:
        sentences.append(f"{pluralize(dropped, 'feature')} of length zero, without direction, not shown.")
    return sentences
