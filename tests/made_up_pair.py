"""A tiny pair of domains for tests of the loop, where the data do not matter."""

from __future__ import annotations

import torch

from csg.data.pair import ArrayStream, LabelledImages, Pair
from csg.models import ENCODERS
from csg.models.resnet import BasicBlock, ResNet

ENCODERS["tiny"] = lambda: ResNet(BasicBlock, (1, 1, 1, 1), width=8, classes=10)
TINY = {
    "model.name": "tiny",
    "model.weights": "none",
    "model.head_width": 16,
    "data.image_size": 32,
    "data.source_images": 40,
    "train.batch_size": 8,
    "train.epochs": 2,
    "method.queue_size": 21,
    "method.projection_width": 16,
    "optim.warmup_steps": 3,
}
"""Settings under which a step takes milliseconds."""


def made_up_pair(size: int = 32, classes: int = 3, train: int = 40, sources: tuple[str, ...] = ()) -> Pair:
    """Noise with a bright bar whose place is the class; the target's bar is dimmer. Sources take turns."""
    draw = torch.Generator().manual_seed(0)

    def stream(count: int, brightness: int) -> ArrayStream:
        labels = torch.arange(count) % classes
        grey = torch.randint(0, 60, (count, size, size), dtype=torch.uint8, generator=draw)
        for image, label in zip(grey, labels.tolist(), strict=True):
            image[:, 8 * label : 8 * label + 6] += brightness
        return ArrayStream(grey, labels, torch.arange(count) % max(len(sources), 1))

    return Pair(
        name="bars",
        classes=tuple("abc"[:classes]),
        streams={
            "source/train": stream(train, 150),
            "source/val": stream(12, 150),
            "source/shifted": stream(12, 120),
            "target/val": stream(9, 90),
            "target/test": stream(15, 90),
        },
        flip_averaging=False,
        description="bars on noise",
        sources=sources,
    )


def labelled(pair: Pair, name: str) -> LabelledImages:
    """Return a stream of images that have one label each."""
    stream = pair.streams[name]
    assert isinstance(stream, LabelledImages)
    return stream
