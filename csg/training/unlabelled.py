"""Scores of a model on the images of target/val that need none of their labels: every epoch, whatever selects."""

from __future__ import annotations

from typing import Final

import torch

from csg.collective import is_first, sum_over_processes
from csg.config import Config
from csg.data.pair import IGNORED, TARGET_VAL, Pair
from csg.metrics.subset import choose_images
from csg.metrics.validators import VALIDATORS, TargetView
from csg.models.folding import FoldedEncoder
from csg.tasks import find_task
from csg.tasks.measurement import Inference, Measurement, Rows
from csg.training.step import load_frozen_encoder, place

LIMIT: Final = 2000
"""Rows that validators look at; the cost of some grows with the square of their number."""
SEED: Final = 31
"""Of the choice of rows and of partners: no setting moves it, so that all runs are scored on the same."""


class UnlabelledScores:
    """Scores one run, epoch by epoch. The frozen encoder looks at the images once."""

    def __init__(self, config: Config, pair: Pair) -> None:
        self._config = config
        self._task = find_task(config.data)
        self._pair = pair
        self._frozen: tuple[torch.Tensor, torch.Tensor] | None = None
        """Which images the frozen encoder has looked at, and its features."""

    def measure(self, inference: Inference, target: Rows, source: Measurement) -> dict[str, float]:
        """Compute every validator, on the first process of a group, which tells the others.

        Args:
            inference: the model, for mixtures of images.
            target: rows of target/val.
            source: of source/val, whose labels may be used.

        Returns:
            ``target/val/<validator>``; higher is better.
        """
        values = torch.zeros(len(VALIDATORS), dtype=torch.float64)
        if is_first():
            values = torch.tensor(self._score(inference, target, source), dtype=torch.float64)
        return {
            f"{TARGET_VAL}/{name}": value
            for name, value in zip(VALIDATORS, sum_over_processes(values).tolist(), strict=True)
        }

    def _score(self, inference: Inference, target: Rows, source: Measurement) -> list[float]:
        images = self._pair.streams[TARGET_VAL]
        rows = target.choose(choose_images(len(target.images), limit=LIMIT, seed=SEED))
        if self._frozen is None or not torch.equal(self._frozen[0], rows.images):
            encoder = FoldedEncoder(place(load_frozen_encoder(self._config), self._config))
            self._frozen = rows.images, self._task.encode_rows(encoder, self._config, images, rows)
        labelled = source.row_labels != IGNORED
        mixtures = self._task.answer_mixtures(inference, self._config, images, rows, seed=SEED)
        view = TargetView(
            rows.logits,
            rows.features,
            teacher_features=self._frozen[1],
            source_logits=source.rows.logits[labelled],
            source_labels=source.row_labels[labelled],
        )
        mixed = TargetView(
            mixtures.first.logits,
            mixtures.first.features,
            partner_logits=mixtures.partner_logits,
            mixed_logits=mixtures.mixed_logits,
        )
        return [validator.score(mixed if name == "mixval" else view) for name, validator in VALIDATORS.items()]
