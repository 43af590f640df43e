"""The shipped search spaces, by the name that ``--space`` takes."""

from __future__ import annotations

import dataclasses

from csg.config import DataConfig
from csg.config.external import find_object
from csg.messages.errors import UserError
from tune_spaces.spaces import averaging as averaging_spaces
from tune_spaces.spaces import csg as csg_space
from tune_spaces.spaces import rivals as rival_spaces
from tune_spaces.spaces.space import Space
from tune_spaces.spaces.training import AUGMENTATION, EPOCHS, LEARNING_RATES, PASTA

SPACES = {
    "csg": csg_space.CSG,
    "csg_segmentation": csg_space.SEGMENTATION,
    "csg_glyph_scenes": csg_space.GLYPH_SCENES,
    "contrast": csg_space.CONTRAST,
    "stages": csg_space.STAGES_ALONE,
    "weight_l2": rival_spaces.WEIGHT_L2,
    "synaptic_intelligence": rival_spaces.SYNAPTIC_INTELLIGENCE,
    "feature_l2": rival_spaces.FEATURE_L2,
    "asg": rival_spaces.ASG,
    "drpc": rival_spaces.DRPC,
    "low_rank": rival_spaces.LOW_RANK,
    "lp_ft": rival_spaces.LP_FT,
    "miro": rival_spaces.MIRO,
    "mixstyle": rival_spaces.MIXSTYLE,
    "gcisg": rival_spaces.GCISG,
    "learning_rates": Space(LEARNING_RATES, follows=True),
    "epochs": Space((EPOCHS, *LEARNING_RATES), follows=True),
}


def find_space(name: str, *, method: str, data: DataConfig, averaging: str = "none") -> Space:
    """Return a shipped space, or ``module:NAME`` or ``path/to/file.py:NAME``.

    Args:
        name: empty for the method's own space: the one of its name, for this pair or this task where there is one, or
            the learning rates; with what is searched of the averaging around it, and the augmentation (with its
            strength, where that is PASTA).
        method: ``method.name``.
        data: names the pair.
        averaging: ``averaging.name``.

    Raises:
        UserError: there is none.
    """
    if not name:
        own = (f"{method}_{data.name}", f"{method}_{data.task}", method, "learning_rates")
        space = next(SPACES[each] for each in own if each in SPACES)
        around = averaging_spaces.AVERAGINGS.get(averaging, ())
        strengths = PASTA if data.augmentation == "pasta" else ()
        parameters = (*around, *space.parameters, AUGMENTATION[data.task], *strengths)
        return dataclasses.replace(space, parameters=parameters)
    found = find_object(name, SPACES, Space, "--space")
    if not found.parameters:
        raise UserError(f"--space: expected a space with at least one parameter, found none in {name}")
    return found
