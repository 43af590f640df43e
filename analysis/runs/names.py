"""What settings, methods, metrics and roles are called where people read them."""

from __future__ import annotations

import re
from typing import Final

from csg.data.held_out import HELD_OUT
from csg.data.pair import SOURCE_SHIFTED, SOURCE_VAL, TARGET_TEST, TARGET_VAL
from csg.metrics.validators import VALIDATORS
from csg.tasks import TASKS

ROLE_NAMES: Final = {"source_only": "source only", "default": "default setting"}
"""A search's reference points."""
SETTINGS: Final = {
    "optim.lr": "learning rate",
    "optim.backbone_lr_factor": "encoder learning-rate factor",
    "method.key_momentum": "momentum of the keys",
}
"""Settings whose own name says too little."""
METHODS: Final = {
    **{name: name.upper() for name in ("csg", "asg", "drpc", "miro", "gcisg")},
    "ibn_net": "IBN-Net",
    "lp_ft": "LP-FT",
    "mixstyle": "MixStyle",
    "oracle_imagenet": "frozen encoder",
}
"""Methods whose name is not its words joined by underscores."""
SCORES: Final = {
    "class_ami": "class AMI",
    "bnm": "BNM",
    "snd": "SND",
    "mixval": "MixVal",
    "atc": "ATC",
    "teacher_neighbours": "neighbours of the frozen encoder",
}
"""Validators whose name is not its words joined by underscores."""
NO_LABELS: Final = ", no labels"
"""Ends the name of a selector that is a validator."""
STREAMS: Final = {
    SOURCE_VAL: "held-out synthetic images",
    SOURCE_SHIFTED: "distorted synthetic images",
    HELD_OUT: "a source that was not trained on",
    TARGET_VAL: "real images",
    TARGET_TEST: "real test images",
}


def name_setting(setting: str) -> str:
    """Name a setting: ``method.stage3.weight`` is the weight of stage 3."""
    if setting in SETTINGS:
        return SETTINGS[setting]
    section, _, name = setting.partition(".")
    if name == "name":
        return section
    if stage := re.fullmatch(r"stage(\d)\.(\w+)", name):
        return f"stage {stage[1]} {stage[2].replace('_', ' ')}"
    return (name or section).replace("_", " ").replace(".", " ")


def name_method(method: str) -> str:
    """Name a method."""
    return METHODS.get(method, method.replace("_", " "))


def name_role(role: str) -> str:
    """Name the role of a trial."""
    return ROLE_NAMES.get(role, role)


def name_metric(metric: str) -> str:
    """Name a figure and the images that it was measured on; a metric that is none of a stream's as it is."""
    stream, _, name = metric.rpartition("/")
    if stream not in STREAMS:
        return metric
    if name in VALIDATORS:
        return f"{name_validator(name)} of unlabelled {STREAMS[stream]}"
    words = {task.score: task.score_words for task in TASKS.values()}
    words |= {task.overall: task.overall_words for task in TASKS.values()}
    return f"{words.get(name, name.replace('_', ' '))} on {STREAMS[stream]}"


def name_selector(selector: str) -> str:
    """Name what chooses among runs (see :func:`analysis.runs.metrics.make_selectors`): a protocol, or a validator."""
    protocol, _, validator = selector.partition(", ")
    return f"{name_validator(validator)}{NO_LABELS}" if validator else protocol


def name_validator(validator: str) -> str:
    """Name a validator."""
    return SCORES.get(validator, validator.replace("_", " "))
