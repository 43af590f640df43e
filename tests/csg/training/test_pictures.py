"""Pictures of a finished run: the same images for every run, with what the model sees in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from csg.losses.attentional_pooling import attention
from csg.tasks.measurement import Inference
from csg.training.pictures import SHOWN
from tests.finished_run import finished_run
from tests.made_up_pair import labelled


def test_pictures_show_the_same_images_with_the_models_own_answers(tmp_path: Path) -> None:
    run, other = (finished_run(tmp_path / name, train__seed=seed) for name, seed in (("a", 0), ("b", 1)))
    shown, others = np.load(run.pictures.local), np.load(other.pictures.local)
    assert np.array_equal(shown["images"], others["images"]) and len(shown["images"]) == SHOWN
    assert shown["classes"].tolist() == list(run.pair.classes)
    stream = labelled(run.pair, "target/test")
    everything = stream.load_images(torch.arange(len(stream)))
    inference = Inference(run.load_selected_model(), run.config)
    for image, label, predicted, weights in zip(
        shown["images"], shown["labels"], shown["predicted"], shown["attention_stage3"], strict=True
    ):
        place = next(n for n, each in enumerate(everything) if np.array_equal(each, image))
        assert stream.labels[place] == label
        output = inference(inference.prepare_input(torch.from_numpy(image)[None]))
        assert output.logits.argmax() == predicted
        np.testing.assert_allclose(weights, attention(output.maps[2])[0].numpy(), rtol=1e-3)
        assert weights.sum() == pytest.approx(1, rel=2e-3)
