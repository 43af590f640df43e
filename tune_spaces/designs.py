"""The shipped designs, by the name that ``--design`` takes."""

from __future__ import annotations

from csg.config import ConfigError
from csg.external import external_object
from tune_spaces.design import Cell, Design

POOLINGS = {"average": "average pooling", "apool": "A-pool"}

RIVALS = Design(
    title="CSG and its rivals",
    base="source only",
    cells=(
        Cell("oracle on ImageNet", {"method.name": "oracle_imagenet"}),
        Cell("source only", {"method.name": "source_only"}),
        Cell("weight l2", {"method.name": "weight_l2"}),
        Cell("synaptic intelligence", {"method.name": "synaptic_intelligence"}),
        Cell("feature l2", {"method.name": "feature_l2"}),
        Cell("feature l2, A-pool", {"method.name": "feature_l2", "method.pooling": "apool"}),
        Cell("IBN-Net", {"method.name": "ibn_net"}),
        Cell("ASG, guidance alone", {"method.name": "asg", "method.controller": False}),
        Cell("ASG, controller alone", {"method.name": "asg", "method.distillation_weight": 0.0}),
        Cell("ASG", {"method.name": "asg"}),
        *(
            Cell(
                f"CSG, {'stages 3 and 4' if stages == '3+4' else 'stage 4'}, {label}",
                {"method.name": "csg", "method.stages": stages}
                | {f"method.stage{stage}.pooling": pooling for stage in stages.split("+")},
            )
            for stages in ("4", "3+4")
            for pooling, label in POOLINGS.items()
        ),
    ),
)

DESIGNS = {"rivals": RIVALS}


def design_named(name: str) -> Design:
    """Return a shipped design, or ``module:NAME`` or ``path/to/file.py:NAME``.

    Raises:
        ConfigError: there is none.
    """
    if name in DESIGNS:
        return DESIGNS[name]
    found = external_object(name, setting="--design") if ":" in name else None
    if not isinstance(found, Design):
        raise ConfigError(f"--design: expected one of {', '.join(DESIGNS)} or module:DESIGN, found {name!r}")
    return found
