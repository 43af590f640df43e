"""Features in the plane: one plane, one scale of shades, the stored energies."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from scipy import stats
from sklearn.decomposition import PCA

from analysis.figures.feature_density import GRID, Panel, draw_feature_density, fit_plane, normalise_features
from analysis.figures.feature_panels import draw_features
from analysis.runs.comparable import MixedRunsError, NoDataError
from analysis.runs.run_table import RunTable
from csg.storage.layout import OUTPUTS
from tests.analysis.figure_reading import changed, named, retagged, words
from tests.analysis.made_up_experiment import ablation, made_up_features, write_experiment


def test_features_are_projected_onto_the_principal_components_of_all_panels(table: RunTable) -> None:
    panels = [
        Panel(str(seed), made_up_features(0.5 + seed, seed)["features"], np.repeat(np.arange(10), 30), 0.1, 1.0, 1.0)
        for seed in range(3)
    ]
    groups = [normalise_features(panel.features)[0] for panel in panels]
    plane = fit_plane(groups)
    reference = PCA(2, svd_solver="full").fit(np.concatenate(groups))
    assert plane.explained_variance_ratio_ == pytest.approx(reference.explained_variance_ratio_)
    assert np.abs(plane.components_ @ reference.components_.T) == pytest.approx(np.eye(2), abs=1e-9)

    figure = draw_feature_density(panels, class_names=["zero", "one"])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["zero", "one", *"23456789"]
    first, second = (100 * share for share in reference.explained_variance_ratio_)
    assert f"({first:.1f} % and {second:.1f} % of the variance)" in words(figure)
    for axes, group in zip(figure.axes, groups, strict=True):
        drawn = [np.asarray(each.get_offsets()) for each in axes.collections if isinstance(each, PathCollection)]
        assert np.concatenate(drawn) == pytest.approx(plane.transform(group)), "labels are in order here"
        assert axes.get_xlim() == figure.axes[0].get_xlim() and axes.get_ylim() == figure.axes[0].get_ylim()


def test_which_way_round_a_picture_is_does_not_depend_on_the_solver() -> None:
    for seed in range(8):
        axes = fit_plane([np.random.default_rng(seed).normal(size=(40, 5))]).components_
        assert axes.max(axis=1) == pytest.approx(np.abs(axes).max(axis=1))


def test_shades_are_halvings_of_the_highest_gaussian_density_of_all_panels() -> None:
    panels = [
        Panel(name, made_up_features(spread, 0)["features"], np.repeat(np.arange(10), 30), 0.1, 1.0, 1.0)
        for name, spread in (("narrow", 0.3), ("wide", 3.0))
    ]
    figure = draw_feature_density(panels)
    groups = [normalise_features(panel.features)[0] for panel in panels]
    plane = fit_plane(groups)
    across, up = (np.linspace(*limits, GRID) for limits in (figure.axes[0].get_xlim(), figure.axes[0].get_ylim()))
    grid = np.stack([axis.ravel() for axis in np.meshgrid(across, up)])
    top = max(float(stats.gaussian_kde(plane.transform(group).T)(grid).max()) for group in groups)
    for axes in figure.axes:
        (shades,) = [each for each in axes.collections if hasattr(each, "levels")]
        assert shades.levels[-1] == pytest.approx(top)
        assert np.asarray(shades.levels[1:]) / np.asarray(shades.levels[:-1]) == pytest.approx(2)


def test_panels_carry_the_stored_energies_of_the_first_seed(table: RunTable, figures: dict[str, Figure]) -> None:
    components = named(table, "components")
    figure = figures["features_components"]
    assert [" ".join(axes.get_title().split()) for axes in figure.axes] == list(components.comparisons)
    for axes, cell in zip(figure.axes, components.comparisons, strict=True):
        (run,) = [each for each in components.get_cell(cell) if each.params["train.seed"] == 0]
        e0, e1, e2 = (run.metrics[f"target/test/{name}"] for name in ("E0_mhe", "E1", "E2"))
        assert axes.get_xlabel() == f"E_0 (mhe) {e0:.3f}\nE_1 {e1:.3f}  E_2 {e2:.3f}"
    assert "seed 0" in words(figure) and "convention mhe, log(1/d²)" in words(figure)


def test_a_cell_without_features_of_that_seed_is_named(table: RunTable) -> None:
    gone = changed(table, lambda run: None if run.run_id.startswith("components-3") else run)
    figure = draw_features(gone, named(gone, "components"))
    assert len(figure.axes) == 3 and "without stored features of this seed: + A-pool." in words(figure)
    first = changed(table, lambda run: None if run.run_id == "components-1-0" else run)
    assert "seed 1" in words(draw_features(first, named(first, "components"))), "a seed that all cells have"


def test_features_of_other_images_other_versions_or_none_are_not_drawn(table: RunTable, tmp_path: Path) -> None:
    runs = ablation("components", {"a": {}, "b": {}}, seeds=1, lifts=(0, 0.1))
    bare = write_experiment(runs, tmp_path / "bare", features=False)
    with pytest.raises(NoDataError, match="no finished run stored features"):
        draw_features(bare, *bare.list_ablations())
    made = write_experiment(runs, tmp_path / "made")
    mixed = changed(made, lambda run: retagged(run, commit="c1") if run.tags.get("csg.cell") == "b" else run)
    with pytest.raises(MixedRunsError, match="more than one commit"):
        draw_features(mixed, *mixed.list_ablations())
    assert "Mixes runs of more than one commit" in words(draw_features(mixed, *mixed.list_ablations(), mix=["commit"]))
    fewer = {name: array[:200] for name, array in made_up_features(1.0, 0).items()}
    np.savez_compressed(tmp_path / "made" / runs[2].run_id / OUTPUTS, allow_pickle=False, **fewer)
    with pytest.raises(MixedRunsError, match="others in b than in a"):
        draw_features(made, *made.list_ablations())


def test_degenerate_features_are_drawn_or_refused_with_words() -> None:
    labels = np.repeat(np.arange(10), 30)
    good = Panel("good", made_up_features(1.0, 0)["features"], labels, 0.1, 1.0, math.nan)
    line = np.zeros((300, 16))
    line[:, 0], line[:, 1] = 1, np.linspace(0, 1, 300)
    line[:5] = 0
    figure = draw_feature_density([good, dataclasses.replace(good, name="few", features=line[:7], labels=labels[:7])])
    assert "No shades" in words(figure) and "5 features of length zero" in words(figure)
    assert "E_2 -" in words(figure)
    with pytest.raises(ValueError, match="found 8, 16"):
        draw_feature_density([good, dataclasses.replace(good, features=good.features[:, :8])])
    with pytest.raises(ValueError, match="non-finite"):
        draw_feature_density([dataclasses.replace(good, features=np.full((300, 16), np.inf))])
    with pytest.raises(ValueError, match="without any spread"):
        draw_feature_density([dataclasses.replace(good, features=np.ones((300, 16)))])
    with pytest.raises(ValueError, match="at least one"):
        draw_feature_density([])
