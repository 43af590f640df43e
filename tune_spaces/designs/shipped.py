"""The shipped designs, by the name that ``--design`` takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Final

from csg.config import NAMED_WEIGHTS, Config
from csg.config.external import find_object
from csg.config.settings import flatten
from csg.methods.csg import PER_STAGE
from csg.parsing import build_config
from tune_spaces.designs.design import Cell, Design

POOLINGS = {"average": "average pooling", "apool": "A-pool"}


def change_to_csg(stages: str = "3+4", pooling: str = "apool", **settings: Any) -> dict[str, Any]:
    """Return the changes that make CSG on ``stages``, all pooled alike; what another base says of other stages goes.

    Args:
        stages: as ``method.stages``.
        pooling: of each stage.
        settings: others of ``method.``; what one says of every stage, none says otherwise.
    """
    settings = {"stages": stages, "pooling": pooling, **settings}
    changes: dict[str, Any] = {"method.name": "csg"}
    for stage in "1234":
        unset = PER_STAGE if stage not in stages.split("+") else [name for name in PER_STAGE if name in settings]
        changes |= {f"method.stage{stage}.{name}": None for name in unset}
    return changes | {f"method.{name}": value for name, value in settings.items()}


def make_sweep(label: str, values: Iterable[Any], setting: str, *, base: Any, title: str) -> Design:
    """Return a design with a cell for each value of one of CSG's settings, compared with the value ``base``."""
    cells = tuple(Cell(f"{label} {value:g}", change_to_csg(**{setting: value})) for value in values)
    return Design(title=title, base=f"{label} {base:g}", cells=cells)


ORACLE = "oracle on ImageNet"
RIVALS = Design(
    title="CSG and its rivals",
    base="source only",
    cells=(
        Cell(ORACLE, {"method.name": "oracle_imagenet"}),
        Cell("source only", {"method.name": "source_only"}),
        Cell("weight l2", {"method.name": "weight_l2"}),
        Cell("synaptic intelligence", {"method.name": "synaptic_intelligence"}),
        Cell("feature l2", {"method.name": "feature_l2"}),
        Cell("feature l2, A-pool", {"method.name": "feature_l2", "method.pooling": "apool"}),
        Cell("IBN-Net", {"method.name": "ibn_net"}),
        Cell("ASG, guidance alone", {"method.name": "asg", "method.controller": False}),
        Cell("ASG, controller alone", {"method.name": "asg", "method.distillation_weight": 0.0}),
        Cell("ASG", {"method.name": "asg"}),
        Cell("DRPC, randomisation alone", {"method.name": "drpc", "method.consistency_weight": 0.0}),
        Cell("DRPC, consistency alone", {"method.name": "drpc", "method.randomisation": False}),
        Cell("DRPC", {"method.name": "drpc"}),
        Cell("SWAD", {"method.name": "source_only", "averaging.name": "swad"}),
        Cell("WiSE-FT", {"method.name": "source_only", "averaging.name": "wise_ft"}),
        Cell("LP-FT", {"method.name": "lp_ft"}),
        Cell("MIRO", {"method.name": "miro"}),
        Cell("MixStyle", {"method.name": "mixstyle"}),
        Cell("GCISG, guidance alone", {"method.name": "gcisg", "method.invariance_weight": 0.0}),
        Cell("GCISG, invariance alone", {"method.name": "gcisg", "method.guidance_weight": 0.0}),
        Cell("GCISG", {"method.name": "gcisg"}),
        *(
            Cell(f"CSG, {'stages 3 and 4' if stages == '3+4' else 'stage 4'}, {label}", change_to_csg(stages, pooling))
            for stages in ("4", "3+4")
            for pooling, label in POOLINGS.items()
        ),
        Cell("source only, PASTA", {"method.name": "source_only", "data.augmentation": "pasta"}),
        Cell("CSG, PASTA", change_to_csg() | {"data.augmentation": "pasta"}),
        Cell("CSG, SWAD", change_to_csg() | {"averaging.name": "swad"}),
        Cell("CSG, WiSE-FT", change_to_csg() | {"averaging.name": "wise_ft"}),
    ),
)

EACH_METHOD = Design(
    title="CSG and its rivals, a row for each",
    base=RIVALS.base,
    cells=(
        *(cell for cell in RIVALS.cells if "," not in cell.name),
        Cell("CSG", {"method.name": "csg"}),
        Cell("CSG, PASTA", {"method.name": "csg", "data.augmentation": "pasta"}),
        Cell("CSG, SWAD", {"method.name": "csg", "averaging.name": "swad"}),
        Cell("CSG, WiSE-FT", {"method.name": "csg", "averaging.name": "wise_ft"}),
    ),
)
"""A cell sets no more than which method it is, so that a search of it may choose all the rest."""
OF_SEVERAL_SOURCES: Final = (Cell("low rank", {"method.name": "low_rank"}),)
"""Rivals that need synthetic images of several sources."""
SEVERAL_SOURCES: Final = ("glyphs",)
"""Pairs that always have some."""
PLAIN: dict[str, Any] = {"data.augmentation": "none"}
COMPONENTS = Design(
    title="CSG's components, one after the other",
    base="source only",
    cells=(
        Cell("source only", {"method.name": "source_only"} | PLAIN),
        Cell("source only, augmentation", {"method.name": "source_only"}),
        Cell("+ contrastive (stage 4)", change_to_csg("4", "average") | PLAIN),
        Cell("+ multi-layer (3 and 4)", change_to_csg("3+4", "average") | PLAIN, against="+ contrastive (stage 4)"),
        Cell("+ A-pool", change_to_csg("3+4", "apool") | PLAIN, against="+ multi-layer (3 and 4)"),
        Cell("+ augmentation (CSG)", change_to_csg("3+4", "apool"), against="+ A-pool"),
    ),
)
STAGES = Design(
    title="Stages that CSG contrasts",
    base="stages 3+4",
    cells=tuple(Cell(f"stages {stages}", change_to_csg(stages)) for stages in ("4", "3", "3+4", "2+3+4", "1+2+3+4")),
)
APOOL = Design(
    title="Stages that CSG pools by attention",
    base="none",
    cells=(
        Cell("none", change_to_csg(pooling="average")),
        Cell("stage 3", change_to_csg(pooling="average") | {"method.stage3.pooling": "apool"}),
        Cell("stage 4", change_to_csg(pooling="average") | {"method.stage4.pooling": "apool"}),
        Cell("stages 3 and 4", change_to_csg()),
    ),
)
SCHEDULE = Design(
    title="Learning-rate schedule and layer-wise learning rates, CSG",
    base="both",
    cells=(
        Cell("both", change_to_csg() | {"optim.schedule": "warmup_poly", "optim.backbone_lr_factor": 0.1}),
        Cell(
            "layer-wise rates alone", change_to_csg() | {"optim.schedule": "constant", "optim.backbone_lr_factor": 0.1}
        ),
        Cell("schedule alone", change_to_csg() | {"optim.schedule": "warmup_poly", "optim.backbone_lr_factor": 1.0}),
        Cell("neither", change_to_csg() | {"optim.schedule": "constant", "optim.backbone_lr_factor": 1.0}),
    ),
)


def holds_imagenet(weights: str) -> bool:
    """Whether ``model.weights`` are ImageNet's: those of this name, or a file, which is torchvision's."""
    return weights == "imagenet" or weights not in NAMED_WEIGHTS


def make_rivals(pair: str, weights: str, rivals: Design = RIVALS) -> Design:
    """Return a design with all rivals that a pair has the data for.

    The frozen encoder's row is an oracle on ImageNet only if the encoder starts from that.
    """
    frozen = ORACLE if holds_imagenet(weights) else "frozen encoder"
    named = (dataclasses.replace(cell, name=frozen) if cell.name == ORACLE else cell for cell in rivals.cells)
    more = OF_SEVERAL_SOURCES if pair in SEVERAL_SOURCES else ()
    return dataclasses.replace(rivals, cells=(*named, *more))


def make_shipped_designs(pair: str, *, weights: str = "") -> dict[str, Design]:
    """Return the shipped designs, sweeps being around what is CSG's default on a pair.

    Args:
        pair: its name.
        weights: ``model.weights``; empty for the pair's default.
    """
    own = flatten(build_config({"data.name": pair, "method.name": "csg"}))
    weight, queue_size = own["method.weight"], own["method.queue_size"]
    swept = [float(f"{weight * factor:.3g}") for factor in (0.1, 0.3, 1, 3, 10)]
    temperatures = (0.01, 0.03, 0.07, 0.2, 0.5)
    sizes = (1024, 4096, 16384, 65536)
    return {
        "rivals": make_rivals(pair, weights or own["model.weights"]),
        "methods": make_rivals(pair, weights or own["model.weights"], EACH_METHOD),
        "components": COMPONENTS,
        "temperature": make_sweep("tau", temperatures, "temperature", base=0.07, title="Contrastive temperature"),
        "weight": make_sweep("lambda", swept, "weight", base=weight, title="Weight of the contrastive loss"),
        "stages": STAGES,
        "apool": APOOL,
        "queue_size": make_sweep("K", sizes, "queue_size", base=queue_size, title="Negatives in the queue"),
        "schedule": SCHEDULE,
    }


def find_design(name: str, pair: str, *, weights: str = "") -> Design:
    """Return a shipped design (see :func:`make_shipped_designs`), or ``module:NAME`` or ``path/to/file.py:NAME``.

    Raises:
        UserError: there is none.
    """
    return find_object(name, make_shipped_designs(pair, weights=weights), Design, "--design")


def choose_design(name: str, config: Config) -> tuple[str, Design]:
    """Return a design for a configuration, as :func:`find_design` does, after its own name.

    Raises:
        UserError: there is none.
    """
    return name.rpartition(":")[2], find_design(name, config.data.name, weights=config.model.weights)
