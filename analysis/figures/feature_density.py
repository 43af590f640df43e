"""Features of real images in the plane, with their density and hyperspherical energy: the paper's Figure 2.

How features come into the plane. Each is divided by its length, as it is where its energy is computed. The unit vectors
of *all* panels are pooled, their mean is taken off, and they are projected onto the first two principal components of
the pool: one plane for all panels, chosen by none of them, so that places and spreads can be compared by eye (places
mean the same in all panels as far as the models began as the same network, as the cells of an ablation do). The share
of the pool's variance that lies in the plane is in the caption. The density is estimated in that plane; the energies
are those of the whole features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from scipy.linalg import eigh
from scipy.stats import gaussian_kde

from analysis.figures.figure_style import (
    PALETTE,
    SMALL_SIZE,
    TEXT_SIZE,
    RunFigure,
    broken_lines,
    mark_of,
    new_panels,
    set_caption,
)
from analysis.statistics.bootstrap import Floats, Ints
from csg.messages.wording import pluralize

COLUMNS = 3
"""Panels side by side in a paper's column."""
GRID = 120
"""Points a side at which densities are evaluated."""
SHADES = 6
"""Each is twice as dense as the one before; the darkest ends at the highest density of all panels."""


@dataclass(frozen=True)
class Panel:
    """One model's features of real images."""

    name: str
    features: npt.NDArray[np.floating]
    """(M, C), not normalised."""
    labels: Ints
    """(M,) class indices; all the same where an image has no class."""
    e0: float
    """E_0 in the convention mhe, log(1 / d^2), of all test images: also of those whose features are not here."""
    e1: float
    e2: float


@dataclass(frozen=True)
class Plane:
    """The first two principal components of pooled vectors."""

    centre: Floats
    """(C,) their mean."""
    axes: Floats
    """(2, C) orthonormal; the largest entry of each is positive, so that equal features give equal pictures."""
    explained: tuple[float, float]
    """The share of the pooled vectors' variance along each."""

    def place(self, vectors: Floats) -> Floats:
        """Return where vectors (M, C) lie: (M, 2)."""
        return np.asarray((vectors - self.centre) @ self.axes.T)


def directions(features: npt.NDArray[np.floating]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Divide features (M, C) by their lengths, in float64.

    Returns:
        The unit vectors of those that have a direction, and which these are, (M,).

    Raises:
        ValueError: no (M, C) matrix of finite numbers.
    """
    wide = np.asarray(features, dtype=np.float64)
    if wide.ndim != 2 or not np.isfinite(wide).all():
        raise ValueError(f"features: expected a finite (M, C) matrix, found shape {wide.shape} or non-finite values")
    lengths = np.linalg.norm(wide, axis=1)
    return wide[lengths > 0] / lengths[lengths > 0, None], lengths > 0


def principal_plane(groups: Sequence[Floats]) -> Plane:
    """Return the plane of the largest variance of all vectors of all groups, each (M, C).

    Raises:
        ValueError: vectors of different widths, of one entry, or that are all the same.
    """
    widths = {group.shape[1] for group in groups}
    if len(widths) != 1 or widths == {1}:
        found = ", ".join(map(str, sorted(widths)))
        raise ValueError(f"features: expected one width above 1 in all panels, found {found}: draw one encoder's only.")
    count = sum(map(len, groups))
    centre = np.asarray(sum(group.sum(axis=0) for group in groups) / max(count, 1))
    covariance = np.asarray(sum((group - centre).T @ (group - centre) for group in groups) / max(count, 1))
    total = float(np.trace(covariance))
    if not total > 1e-12:
        raise ValueError(f"features: expected vectors that differ, found {count} without any spread; there is no plane")
    last = len(centre) - 1
    variances, vectors = eigh(covariance, subset_by_index=[last - 1, last])
    axes = vectors.T[::-1]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    first, second = (float(max(value, 0.0)) / total for value in variances[::-1])
    return Plane(centre, axes * np.sign(largest), (first, second))


def feature_density(panels: Sequence[Panel], *, note: str = "") -> RunFigure:
    """Draw panels side by side in one plane, each with its density and, below, its energies.

    Args:
        panels: at least one; their features have one width.
        note: of what these features are; begins the caption.

    Raises:
        ValueError: no panel, or features that :func:`principal_plane` refuses.
    """
    if not panels:
        raise ValueError("panels: expected at least one, found none: say why there is no figure instead.")
    made = [directions(panel.features) for panel in panels]
    plane = principal_plane([vectors for vectors, _ in made])
    places = [plane.place(vectors) for vectors, _ in made]
    labels = [panel.labels[directed] for panel, (_, directed) in zip(panels, made, strict=True)]
    columns = 2 if len(panels) == 4 else min(len(panels), COLUMNS)
    rows = math.ceil(len(panels) / columns)
    names = [broken_lines(panel.name, 62 // columns) for panel in panels]
    lines = sum(max(name.count("\n") + 1 for name in names[row * columns :][:columns]) for row in range(rows))
    height = 0.95 + 0.13 * lines + rows * (0.32 + 3.1 / columns)
    figure, grid = new_panels(rows, columns, height=height, share_x=True)
    centre, half = _frame(np.concatenate(places))
    densities = [_density(placed, centre, half) for placed in places]
    top = max((float(density.max()) for density in densities if density is not None), default=0.0)
    classes = np.unique(np.concatenate(labels))
    for axes, placed, label, density in zip(grid, places, labels, densities, strict=False):
        _shade(axes, density, top, centre, half)
        _scatter(axes, placed, label, classes)
    for axes, panel, name in zip(grid, panels, names, strict=False):
        _frame_axes(axes, panel, name, centre, half)
    for axes in grid[len(panels) :]:
        axes.remove()
    dropped = sum(int((~directed).sum()) for _, directed in made)
    set_caption(
        figure,
        " ".join(
            _sentences(plane, [len(placed) for placed in places], densities, dropped, note, coloured=len(classes) > 1)
        ),
    )
    return figure


def _frame(places: Floats) -> tuple[Floats, float]:
    """Return the centre and half the side of the square that holds all places, (N, 2), with a margin."""
    low, high = places.min(axis=0), places.max(axis=0)
    return (low + high) / 2, 0.6 * float((high - low).max())


def _density(places: Floats, centre: Floats, half: float) -> Floats | None:
    """Evaluate a Gaussian kernel density (Scott's rule) over the frame, (GRID, GRID); None where it has no answer."""
    try:
        estimate = gaussian_kde(places.T)
    except (ValueError, np.linalg.LinAlgError):
        return None  # fewer than 3 points, or all on a line
    steps = np.linspace(-half, half, GRID)
    across, up = np.meshgrid(centre[0] + steps, centre[1] + steps)
    return np.asarray(estimate(np.stack([across.ravel(), up.ravel()])).reshape(GRID, GRID))


def _shade(axes: Axes, density: Floats | None, top: float, centre: Floats, half: float) -> None:
    if density is None:
        return
    steps = np.linspace(-half, half, GRID)
    levels = [top * 2.0 ** (step - SHADES) for step in range(SHADES + 1)]
    shades = [str(round(0.98 - 0.45 * (step + 1) / SHADES, 3)) for step in range(SHADES)]
    axes.contourf(centre[0] + steps, centre[1] + steps, density, levels=levels, colors=shades, zorder=1)


def _scatter(axes: Axes, places: Floats, labels: Ints, classes: Ints) -> None:
    for index, name in enumerate(classes):
        shape, colour = mark_of(index, PALETTE[:-1])  # without black, which is the density's
        chosen = places[labels == name]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=2, marker=shape, c=colour, alpha=0.55, lw=0, zorder=2)


def _frame_axes(axes: Axes, panel: Panel, name: str, centre: Floats, half: float) -> None:
    axes.set_aspect("equal")
    axes.set_xlim(centre[0] - half, centre[0] + half)
    axes.set_ylim(centre[1] - half, centre[1] + half)
    axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
    axes.spines[["top", "right"]].set_visible(True)
    axes.spines[:].set_linewidth(0.5)
    axes.set_title(name, fontsize=TEXT_SIZE, pad=3)
    energies = f"E_0 (mhe) {_number(panel.e0)}\nE_1 {_number(panel.e1)}  E_2 {_number(panel.e2)}"
    axes.set_xlabel(energies, fontsize=SMALL_SIZE, labelpad=2)


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"


def _sentences(
    plane: Plane, counts: Sequence[int], densities: Sequence[Floats | None], dropped: int, note: str, *, coloured: bool
) -> list[str]:
    """Say how to read the panels."""
    images = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    first, second = (100 * share for share in plane.explained)
    said = [note] if note else []
    colours = ", coloured by class" if coloured else ""
    said += [
        f"Points: l2-normalised features of {images} real test images a panel{colours}, on the first two principal "
        f"components of all panels' features pooled ({first:.1f} % and {second:.1f} % of the variance); axes are the "
        "same in all panels.",
        "Grey: Gaussian kernel density (Scott's rule); each darker shade is twice as dense, alike in all panels.",
        "Below: hyperspherical energy of the whole features of all test images, E_0 in the convention mhe, log(1/d²); "
        "lower is more diverse.",
    ]
    if any(density is None for density in densities):
        said.append("No shades: the points of that panel are too few, or lie on a line.")
    if dropped:
        said.append(f"{pluralize(dropped, 'feature')} of length zero, without direction, not shown.")
    return said
