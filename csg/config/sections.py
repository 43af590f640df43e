"""The vocabulary: every setting of one training run, as a tree of frozen dataclasses.

A setting has one name everywhere. ``method.temperature`` is the field, the command-line flag, the key in a YAML
file, the key in a search space and the MLflow parameter. This module defines the names with their types, bounds and
defaults. ``csg.config.settings`` turns a tree of settings into dotted names and back.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.dataclasses import dataclass

from csg.config.pairs import BUNDLED, BUNDLED_SOURCE_IMAGES, DEFAULT_PAIR, IDLE, get_pair_task
from csg.config.settings import NOT_IDENTITY, STRICT, Count, Flat, Place, Section, flatten
from csg.messages.errors import UserError

NAMED_WEIGHTS = ("imagenet", "mnist", "mnist_scenes", "none")
"""Values of ``model.weights`` that name no file."""
TRANSFORMERS = "transformers"
"""Value of ``model.name`` for the networks of transformers, whose architecture comes with their weights."""
Ids = Literal["by_name", "label_ids", "train_ids"]
"""Meaning of the pixels in label files of Cityscapes and GTA5."""


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


def _take_several(value: object) -> object:
    """Return several values of a file as a tuple, and one as itself."""
    if not isinstance(value, (list, tuple)):
        return value
    return value[0] if len(value) == 1 else tuple(value) or None


Several = BeforeValidator(_take_several)


@dataclass(frozen=True, config=STRICT)
class DataConfig(Section):
    """The synthetic source, the real target, and the processing of their images."""

    name: str = DEFAULT_PAIR
    """The source/target pair: glyphs (bundled), visda17 or folders; glyph_scenes (bundled) or gta5_cityscapes, which
    have a class for every pixel."""
    root: Annotated[str | None, Place("read"), NOT_IDENTITY] = None
    """visda17: folder that holds train/ and validation/ or test/, each with its image_list.txt."""
    source: Annotated[str | tuple[str, ...] | None, Several, Place("read"), NOT_IDENTITY] = None
    """folders: folder of synthetic images, one sub-folder a class, or of shards (.tar as WebDataset writes them);
    gta5_cityscapes: folder with GTA5's images/ and labels/. Or several such folders, one a source."""
    target: Annotated[str | None, Place("read"), NOT_IDENTITY] = None
    """folders: folder of real images, one sub-folder a class; where no sub-folder has the name of a class, all images
    below it are photographs without labels; unset, there are no real images. gta5_cityscapes: folder with Cityscapes'
    leftImg8bit/ and gtFine/."""
    target_unlabelled: Annotated[str | None, Place("read"), NOT_IDENTITY] = None
    """folders, gta5_cityscapes: folder of photographs without labels, at any depth; they join target/val, for whatever
    needs none."""
    class_map: Annotated[str | None, Place("read"), NOT_IDENTITY] = None
    """folders: YAML file that gives sub-folders of the target the source's names (name in the target: name in the
    source, or null to leave it out)."""
    target_split: Literal["validation", "test"] = "validation"
    """visda17: the real images: validation (the paper's) or test."""
    source_ids: Ids = "by_name"
    """gta5_cityscapes: what GTA5's label files hold: label_ids, train_ids (0 to 18 and 255), or what their names say,
    which is train_ids where they end in _labelTrainIds.png and label_ids elsewhere."""
    target_ids: Ids = "by_name"
    """gta5_cityscapes: the same of Cityscapes' label files; train_ids prefers *_labelTrainIds.png where both exist."""
    cache: Annotated[str | None, Place("written"), NOT_IDENTITY] = "runs/cache"
    """Folder for rendered images, results of checks and what is known of files; None for one in each machine's home."""
    image_size: Annotated[int, Field(ge=32, le=2048)] = 64
    """Side of the square input, in pixels."""
    source_images: Annotated[int, Field(ge=10)] | None = None
    """Synthetic training images: 1,024 glyphs or 640 scenes of them unless given; of a pair on disk all, or a seeded
    part with every class in proportion."""
    trained_on: Literal["source", "target"] = "source"
    """Images that are trained on: the synthetic ones, or for comparison the real ones of target/val."""
    balance: Literal["by_size", "equally"] = "by_size"
    """Several sources (of glyphs: families of fonts): by_size lets every image come once an epoch, equally lets every
    source give an epoch as many images as the others."""
    held_out: str | None = None
    """Several sources: the name of one that is left out of source/train and source/val. What source/val would have of
    it (of glyphs: what source/train would have) is measured as held_out."""
    source_val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the synthetic images on disk that form source/val (glyphs and glyph_scenes hold out fonts instead)."""
    target_val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the real images that form target/val; the rest is target/test. gta5_cityscapes: of Cityscapes' train,
    for target/test is its val. glyph_scenes: of the handwritten digits that scenes are composed of."""
    augmentation: Literal["randaugment", "pasta", "colour_jitter", "none"] = "randaugment"
    """randaugment: drawn separately for the two views (not with a class for each pixel); pasta: noise on the amplitudes
    of frequencies, drawn separately too; colour_jitter: of the key view alone; with "none" both views are the same
    image."""
    augmentation_ops: Count = 1
    """RandAugment operations per image and view."""
    augmentation_magnitude: Annotated[int, Field(ge=0, le=30)] = 6
    """RandAugment magnitude, of 30."""
    pasta_alpha: Annotated[float, Field(ge=0, le=100)] = 3.0
    """PASTA: the highest frequency's noise has a spread of pasta_alpha^pasta_k more than the mean colour's."""
    pasta_k: Annotated[float, Field(gt=0, le=10)] = 2.0
    """PASTA: how fast the spread grows with the frequency."""
    pasta_beta: Annotated[float, Field(ge=0, le=10)] = 0.25
    """PASTA: spread of the noise that all frequencies have, relative to their amplitudes."""
    jitter: Annotated[float, Field(ge=0, le=0.5)] = 0.4
    """Strength of colour jitter: of brightness, contrast and saturation a factor, of the hue a part of the circle."""
    window: Annotated[int, Field(ge=32)] | None = None
    """Segmentation: side of the windows that an image is evaluated in, in pixels (unset: data.image_size)."""
    window_stride: Annotated[float, Field(gt=0, le=1)] = 5 / 6
    """Segmentation: from one window to the next, as a share of its side."""
    flip_averaging: Literal["softmax", "sigmoid", "none"] = "softmax"
    """How evaluation averages an image and its mirror image, on pairs that allow it (sigmoid in the authors' code)."""
    allow_missing_classes: bool = False
    """Accept a pair on disk one side of which has no images of some class."""
    on_bad_image: Literal["error", "skip"] = "error"
    """What a damaged or absent image does: end the run with the file's name, or be left out and counted."""
    max_megapixels: Count = 256
    """Pixels that an image on disk may have, in millions; a larger one counts as one that cannot be used."""
    grey_bits: Annotated[int, Field(ge=9, le=16)] = 16
    """Bits that 16-bit grey images on disk use: of 12, a value of 4,095 is white, and a larger one cannot be used."""
    workers: Annotated[int, Field(ge=0, le=4096), NOT_IDENTITY] = 0
    """Processes that decode and augment; 0 does it in the training process. The batches are the same."""

    @property
    def names_target(self) -> bool:
        """Whether the settings name real images, or the pair brings its own."""
        named = (self.root, self.target, self.target_unlabelled)
        return self.name in BUNDLED or any(place is not None for place in named)

    @property
    def task(self) -> Literal["classification", "segmentation"]:
        """Whether a label is a class for an image or for a pixel."""
        return get_pair_task(self.name)

    @property
    def sources(self) -> tuple[str, ...]:
        """The folders of synthetic images."""
        if self.source is None:
            return ()
        return (self.source,) if isinstance(self.source, str) else self.source

    @property
    def source_images_asked(self) -> int | None:
        """Number of synthetic training images with the default resolved; None for all images of a pair on disk."""
        return BUNDLED_SOURCE_IMAGES.get(self.name) if self.source_images is None else self.source_images

    @property
    def window_side(self) -> int:
        """Side of the windows of evaluation, with the default resolved."""
        return self.window or self.image_size

    def get_active(self) -> Flat:
        """Leave out the settings of other augmentations, tasks and pairs."""
        flat = flatten(self) | {"source_images": self.source_images_asked, "window": self.window_side}
        unused = ["source_images"] if self.trained_on == "target" else []
        unused += ["balance"] if self.name not in BUNDLED and len(self.sources) < 2 else []
        unused += ["held_out"] if self.held_out is None else []
        unused += [] if self.on_bad_image == "skip" else ["max_megapixels"]  # an image is refused, not left out
        unused += [] if self.augmentation == "randaugment" else ["augmentation_ops", "augmentation_magnitude"]
        unused += [] if self.augmentation == "pasta" else ["pasta_alpha", "pasta_k", "pasta_beta"]
        unused += [] if self.augmentation == "colour_jitter" else ["jitter"]
        unused += ["flip_averaging"] if self.task == "segmentation" else ["window", "window_stride"]
        return {name: value for name, value in flat.items() if name not in (*unused, *IDLE.get(self.name, ()))}


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
    """"imagenet" (come with the encoder), "mnist" or "mnist_scenes" (of resnet10, made at first use), "none", or a
    state-dict file; of transformers a folder, or a name on the Hugging Face hub; of either the selected.pt of a run."""
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
    """Weight decay on every trainable tensor."""
    schedule: Literal["warmup_poly", "constant"] = "warmup_poly"
    """lr(t) = lr * min(0.01 + 0.99 (t / warmup_steps)^2, 1) * (1 - t / T)^poly_power, or lr."""
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
    """Seed of everything random in the run: order, augmentation, new heads, queues."""
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
    output: Annotated[str, Place("written"), NOT_IDENTITY] = "runs"
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
