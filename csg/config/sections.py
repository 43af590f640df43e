"""The vocabulary: every setting of one training run, as a tree of frozen dataclasses.

A setting has one name everywhere. ``method.temperature`` is the field, the command-line flag, the key in a YAML
file, the key in a search space and the MLflow parameter. This module, ``csg.config.data`` and the file of each method
define the names with their types, bounds and defaults. ``csg.config.settings`` turns a tree of settings into dotted
names and back.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from csg.config.settings import NOT_IDENTITY, STRICT, Count, Flat, Place, Section, flatten

NAMED_WEIGHTS = ("imagenet", "mnist", "mnist_scenes", "none")
"""Values of ``model.weights`` that name no file."""
TRANSFORMERS = "transformers"
"""Value of ``model.name`` for the networks of transformers, whose architecture comes with their weights."""
ValidatorName = Literal[
    "class_ami",
    "class_silhouette",
    "infomax",
    "bnm",
    "entropy",
    "snd",
    "mixval",
    "atc",
    "teacher_neighbours",
    "diversity",
]


def _check_rates(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d*(\+[1-9]\d*){2}", text):
        raise ValueError("expected three dilations joined by +, such as 12+24+36")
    return text


Rates = Annotated[str, AfterValidator(_check_rates)]


@dataclass(frozen=True, config=STRICT)
class ModelConfig(Section):
    """Encoder, its starting weights and the new head."""

    name: str = "efficientnet_lite0"
    """Encoder architecture; transformers for what is in the folder of ``weights`` (needs the extra [encoders])."""
    weights: Annotated[str, Place("read", NAMED_WEIGHTS)] = "imagenet"
    """"imagenet" (come with the encoder), "mnist" or "mnist_scenes" (of resnet10, made for each seed at first use),
    "none", or a state-dict file; of transformers a folder, or a name on the Hugging Face hub; of either the selected.pt
    of a run."""
    path: str | None = None
    """Where an encoder from outside the package is: path/to/file.py:Class or module:Class."""
    teacher_name: str | None = None
    """Architecture of the frozen teacher (unset: the encoder's); stages are matched by number."""
    teacher_path: str | None = None
    """Where a teacher from outside the package is, like ``path``."""
    teacher_weights: Annotated[str | None, Place("read", NAMED_WEIGHTS)] = None
    """The teacher's weights, like ``weights`` (unset: the weights that the encoder starts from)."""
    teacher_precision: Literal["bfloat16"] | None = None
    """Arithmetic of the teacher's maps, as autocast over its weights (unset: the run's)."""
    head_width: Annotated[int, Field(ge=1, le=65_536)] = 512
    """Hidden width of the head: features -> head_width -> ReLU -> classes, or the channels of ASPP's branches."""
    aspp_rates: Rates = "12+24+36"
    """Segmentation: dilations of the head's three branches (atrous spatial pyramid pooling), joined by +."""
    output_stride: Literal[8, 16, 32] = 32
    """Input pixels between two places of the last stage's map, at most: an encoder whose own stride is larger (32; of
    resnet10 16) has its deeper stages dilated instead. ResNets and EfficientNet only: others keep their own strides."""
    frozen_statistics: bool = True
    """The encoder's batch norms keep their running statistics (evaluation mode); scale and shift still train."""
    frozen_norms: bool = False
    """The scale and shift of the encoder's batch norms do not train either."""
    gradient_checkpointing: Annotated[bool, NOT_IDENTITY] = False
    """Encoders of transformers: compute activations again in the backward pass, for less memory and more time."""

    @property
    def teacher(self) -> ModelConfig | None:
        """The frozen teacher as an encoder of its own; None where it is the encoder as it starts."""
        if self.teacher_name is None and self.teacher_path is None and self.teacher_weights is None:
            return None
        return ModelConfig(
            name=self.teacher_name or self.name,
            path=self.teacher_path or (self.path if self.teacher_name is None else None),
            weights=self.teacher_weights or self.weights,
            output_stride=self.output_stride,
        )


@dataclass(frozen=True, config=STRICT)
class MethodConfig(Section):
    """Settings of one method. Each method extends this class in its own file."""

    name: str
    path: str | None = None
    """Where a method from outside the package is: module:Class or path/to/file.py:Class."""

    @property
    def summary(self) -> str:
        """A short text for people, such as in the name of a run."""
        return self.name

    @property
    def probing(self) -> int:
        """Epochs at the beginning in which the head trains alone, under a learning-rate schedule of their own."""
        return 0


@dataclass(frozen=True, config=STRICT)
class OptimConfig(Section):
    """Optimiser and learning-rate schedule."""

    name: Literal["sgd", "adamw"] = "sgd"
    """Optimiser."""
    lr: Annotated[float, Field(gt=0, le=10)] = 0.03
    """Learning rate of the new heads."""
    backbone_lr_factor: Annotated[float, Field(ge=0, le=10)] = 0.1
    """The encoder learns at lr times this."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of SGD."""
    lr_in_momentum: bool = True
    """SGD's lr multiplies the gradient before it enters the momentum buffer (v = m v + lr g; p -= v), as published;
    False is torch's form (v = m v + g; p -= lr v)."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 5e-4
    """Weight decay on every trainable tensor but those that a method keeps out of it (MIRO's variances)."""
    schedule: Literal["warmup_poly", "constant"] = "warmup_poly"
    """lr(t) = lr * min(0.01 + 0.99 (t / warmup_steps)^2, 1) * (1 - t / T)^poly_power, or lr; of lp_ft in each phase."""
    warmup_steps: Annotated[int, Field(ge=0)] = 20
    """Iterations of warm-up (100 as published, for runs of 140,000 iterations)."""
    poly_power: Annotated[float, Field(ge=0, le=10)] = 0.9
    """Exponent of the polynomial decay."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Each layer of the encoder learns at this times the rate of the next one; the head is behind the last. A layer is
    a stage or the stem, or a block of a plain transformer (ViT, DINOv2, ...)."""

    def get_active(self) -> Flat:
        """Leave out momentum with AdamW, and warm-up and decay with a constant schedule."""
        unused = [] if self.name == "sgd" else ["momentum", "lr_in_momentum"]
        unused += [] if self.schedule == "warmup_poly" else ["warmup_steps", "poly_power"]
        return {name: value for name, value in flatten(self).items() if name not in unused}


@dataclass(frozen=True, config=STRICT)
class TrainConfig(Section):
    """Length of the training, batches, hardware and output."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of everything random in the run: weights made on this machine, order, augmentation, new heads, queues."""
    epochs: Count = 3
    """Passes over the source training images."""
    batch_size: Count = 32
    """Images per optimiser step, over all workers; the last incomplete batch of an epoch is dropped."""
    evaluation_batch_size: Annotated[Count, NOT_IDENTITY] = 64
    """Images per forward pass of an evaluation."""
    energy_samples: Annotated[int, Field(ge=0)] = 0
    """Features that enter the hyperspherical energy, a seeded subsample; 0 takes all."""
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    """Arithmetic of the step; bfloat16 is autocast over float32 weights."""
    device: Annotated[Literal["cpu", "cuda"], NOT_IDENTITY] = "cpu"
    """Where to compute."""
    threads: Annotated[int, Field(ge=1, le=4096), NOT_IDENTITY] = 1
    """CPU threads of each worker; they change the low bits of a result."""
    workers: Annotated[Count, NOT_IDENTITY] = 1
    """Processes that train together, each on its part of every batch; above 1 they are a Ray Train run."""
    gpus_per_worker: Annotated[float, Field(gt=0, le=16), NOT_IDENTITY] = 1.0
    """GPUs that each worker takes with device=cuda; a fraction lets small runs share one."""
    wait_minutes: Annotated[float, Field(ge=0), NOT_IDENTITY] = 0.0
    """How long to wait for a cluster's machines that are still starting before what does not fit is refused."""
    channels_last: Annotated[bool, NOT_IDENTITY] = True
    """Memory format of images and convolutions (about twice as fast on a CPU)."""
    compile: Annotated[bool, NOT_IDENTITY] = False
    """Compile the encoders of the step with torch.compile; like another machine, it changes the low bits."""
    checkpoint_minutes: Annotated[float, Field(ge=0), NOT_IDENTITY] = 1.0
    """How often the whole state is saved, so what a kill costs at most; 0 saves it after every step."""
    output: Annotated[str, Place("written", in_buckets=True), NOT_IDENTITY] = "runs"
    """Folder, or address in a bucket (s3://bucket/prefix), that holds every run's record, state and weights."""


@dataclass(frozen=True, config=STRICT)
class SelectionConfig(Section):
    """Which stream may select, and which epoch is measured on target/test."""

    protocol: Annotated[
        Literal["source", "shifted", "held_out_source", "unlabelled", "oracle", "paper"], NOT_IDENTITY
    ] = "source"
    """source: held-out synthetic; shifted: held-out synthetic under unseen distortions; held_out_source: of several
    sources each in turn, by trainings without it (a training by itself: the one that data.held_out names); unlabelled:
    the images of target/val without their labels; oracle: target/val; paper: all real images, only to select an epoch,
    and in no search."""
    validator: Annotated[ValidatorName, NOT_IDENTITY] = "class_ami"
    """With protocol unlabelled: the score that needs no label (csg/metrics/validators.py)."""
    epoch: Literal["last", "best"] = "last"
    """Which epoch's weights are measured on target/test: the last, or the best by the protocol's stream."""


@dataclass(frozen=True, config=STRICT)
class AveragingConfig(Section):
    """Which weights are measured and kept, whatever the method."""

    name: Literal["none", "swad", "wise_ft"] = "none"
    """none: the last step's; swad: the mean of a window that the loss on source/val opens and closes; wise_ft: a
    mixture with the starting weights."""
    open_patience: Count = 3
    """swad: the window opens at an evaluation that the next ones, together so many, do not improve on."""
    close_patience: Count = 6
    """swad: it closes ahead of so many evaluations in a row whose loss exceeds the limit. Memory and checkpoints hold
    about as many copies of the weights."""
    tolerance: Annotated[float, Field(ge=1, le=100)] = 1.3
    """swad: the limit is the mean loss of the evaluations that opened the window, times this."""
    evaluations_per_epoch: Count = 5
    """swad: how often an epoch the loss on source/val is measured; at most after every step."""
    mixing: Annotated[float, Field(ge=0, le=1)] = 0.5
    """wise_ft: 1 for the last step's weights, 0 for the starting ones with a head that was trained on them."""

    @property
    def summary(self) -> str:
        """A short text for people; empty for none."""
        texts = {"swad": f"swad<{self.tolerance:.3g}", "wise_ft": f"wise_ft {self.mixing:.3g}"}
        return texts.get(self.name, "")

    def get_active(self) -> Flat:
        """Leave out the settings of other averagings; none has no settings."""
        used = {
            "none": (),
            "swad": ("name", "open_patience", "close_patience", "tolerance", "evaluations_per_epoch"),
            "wise_ft": ("name", "mixing"),
        }
        return {name: value for name, value in flatten(self).items() if name in used[self.name]}
