"""One training run's settings, as a tree, and which of them go together."""

from __future__ import annotations

import dataclasses

from pydantic.dataclasses import dataclass

from csg.config.data import DataConfig
from csg.config.sections import AveragingConfig, MethodConfig, ModelConfig, OptimConfig, SelectionConfig, TrainConfig
from csg.config.settings import STRICT
from csg.messages.errors import UserError


@dataclass(frozen=True, config=STRICT)
class Config:
    """One training run."""

    method: MethodConfig
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    selection: SelectionConfig = dataclasses.field(default_factory=SelectionConfig)
    averaging: AveragingConfig = dataclasses.field(default_factory=AveragingConfig)

    def __post_init__(self) -> None:
        if self.selection.protocol == "paper" and self.selection.epoch != "best":
            raise UserError(
                "selection.protocol: 'paper' selects an epoch on all real images, so it needs selection.epoch=best, "
                f"and no search takes it; found selection.epoch={self.selection.epoch}"
            )
        if self.data.trained_on == "target" and self.selection.protocol in ("unlabelled", "oracle", "paper"):
            raise UserError(
                "data.trained_on: target/val is what is trained on, so nothing can be selected by it; expected "
                f"selection.protocol=source or shifted, found {self.selection.protocol}"
            )
        if self.data.trained_on == "target" and self.data.held_out is not None:
            raise UserError(
                "data.held_out: expected None with data.trained_on=target, which trains on no source, found "
                f"{self.data.held_out!r}"
            )
        if (self.selection.protocol, self.selection.epoch) == (
            "held_out_source",
            "best",
        ) and self.data.held_out is None:
            raise UserError(
                "selection.epoch: expected last with selection.protocol=held_out_source, since a training on all "
                "sources holds none out to select an epoch by, or data.held_out with it; found best"
            )
        if self.data.task == "segmentation" and self.data.augmentation == "randaugment":
            raise UserError(
                "data.augmentation: expected colour_jitter, pasta or none with "
                f"data.name={self.data.name}, whose pixels must stay where their labels are; found randaugment"
            )
        if self.data.task == "segmentation" and self.train.batch_size < 2:
            raise UserError(
                "train.batch_size: expected at least 2 for segmentation, whose head normalises over the batch; found 1"
            )
        if self.train.batch_size % self.train.workers:
            raise UserError(
                f"train.workers: expected a divisor of train.batch_size ({self.train.batch_size}), which all workers "
                f"share, found {self.train.workers}"
            )
        gpus = self.train.gpus_per_worker
        if gpus != int(gpus) and (gpus > 1 or self.train.workers > 1):
            raise UserError(
                "train.gpus_per_worker: expected a whole number, or a fraction below 1 with one worker (workers of one "
                f"run cannot share a GPU), found {gpus} with train.workers={self.train.workers}"
            )
        if self.train.workers > 1 and not self.model.frozen_statistics:
            raise UserError(
                "model.frozen_statistics: expected True with several workers, each of which would gather statistics of "
                "its own part of a batch; found False; use train.workers=1"
            )
        if self.model.teacher_precision is not None and self.train.precision == "float64":
            raise UserError("model.teacher_precision: expected None with train.precision=float64, found bfloat16")
        images = self.data.source_images_asked if self.data.trained_on == "source" else None
        if images is not None and self.train.batch_size > images:
            raise UserError(
                f"train.batch_size: expected at most data.source_images ({images}), found {self.train.batch_size}"
            )

    @property
    def summary(self) -> str:
        """What is trained, in a short text for people."""
        return " + ".join(filter(None, (self.method.summary, self.averaging.summary)))

    @property
    def cpus_per_worker(self) -> int:
        """CPUs of each training process: its own threads and the processes that decode for it."""
        return self.train.threads + self.data.workers

    @property
    def gpus_per_worker(self) -> float:
        """GPUs of each training process."""
        return self.train.gpus_per_worker if self.train.device == "cuda" else 0.0


SECTIONS: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(Config))
