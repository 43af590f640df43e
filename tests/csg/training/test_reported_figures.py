"""What a run reports are the published quantities of its own answers: worked out again here from weights and images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from csg.data.pair import IGNORED, SOURCE_VAL, TARGET_TEST, TARGET_VAL
from csg.metrics.atc import atc
from csg.metrics.class_ami import class_ami
from csg.metrics.hyperspherical_energy import hyperspherical_energy
from csg.metrics.iou import pixel_counts
from csg.metrics.mixval import choose_partners_by_class, mixval
from csg.metrics.teacher_neighbours import teacher_neighbours
from csg.models.encoder import Encoder
from csg.models.folding import FoldedEncoder
from csg.tasks import find_task
from csg.tasks.measurement import Inference, Measurement, Rows
from csg.training import unlabelled
from csg.training.run import Run
from csg.training.step import load_frozen_encoder
from tests.finished_run import finished_run
from tests.made_up_pair import labelled
from tests.made_up_scenes import made_up_scenes

SCENES = {"data__name": "glyph_scenes", "data__source_images": 24, "data__window": 48, "train__epochs": 1}
"""A window that covers an image."""


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished_run(tmp_path_factory.mktemp("bars"))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished_run(tmp_path_factory.mktemp("scenes"), made_up_scenes(), **SCENES)


def load_inputs(run: Run, stream: str) -> Tensor:
    """Return a stream's normalised images, all at once."""
    images = labelled(run.pair, stream).load_images(torch.arange(len(run.pair.streams[stream])))
    return make_inference(run).prepare_input(images)


def make_inference(run: Run) -> Inference:
    return Inference(run.load_selected_model(), run.config)


def encode(encoder: Encoder, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        maps: tuple[Tensor, ...] = encoder.eval()(inputs)
    return maps[-1]


def test_validators_are_of_the_runs_answers_and_of_the_frozen_encoders(bars: Run) -> None:
    inference, inputs = make_inference(bars), load_inputs(bars, TARGET_VAL)
    target, source = inference(inputs), inference(load_inputs(bars, SOURCE_VAL))
    frozen = encode(load_frozen_encoder(bars.config), inputs).mean(dim=(2, 3))
    partners = choose_partners_by_class(target.logits.argmax(dim=1), seed=unlabelled.SEED)
    mixed = inference(0.55 * inputs + 0.45 * inputs[partners]).logits
    expected = {
        "class_ami": class_ami(target.logits, target.features),
        "teacher_neighbours": teacher_neighbours(target.logits, frozen),
        "atc": atc(target.logits, source.logits, source_labels=labelled(bars.pair, SOURCE_VAL).labels),
        "mixval": mixval(target.logits, target.logits[partners], mixed_logits=mixed),
    }
    last = bars.record.epochs[-1]
    assert {name: last[f"{TARGET_VAL}/{name}"] for name in expected} == pytest.approx(expected)


def test_mixtures_are_of_the_first_image_most_and_of_its_partner(bars: Run) -> None:
    """By their logits, since so few mixtures are answered alike whichever image they are most of."""
    inference, inputs = make_inference(bars), load_inputs(bars, TARGET_VAL)
    measured = measure(bars, TARGET_VAL)
    answered = find_task(bars.config.data).answer_mixtures(
        inference, bars.config, bars.pair.streams[TARGET_VAL], measured.rows, seed=unlabelled.SEED
    )
    own = inference(inputs).logits
    partners = choose_partners_by_class(own.argmax(dim=1), seed=unlabelled.SEED)
    torch.testing.assert_close(answered.first.logits, own)
    torch.testing.assert_close(answered.partner_logits, own[partners])
    mixed = inference(0.55 * inputs + 0.45 * inputs[partners]).logits
    torch.testing.assert_close(answered.mixed_logits, mixed, rtol=1e-4, atol=1e-4)


def test_energies_are_those_of_the_features_each_under_its_own_name(bars: Run) -> None:
    features = make_inference(bars)(load_inputs(bars, TARGET_TEST)).features
    energy = hyperspherical_energy(features)
    reported = [bars.record.final[f"{TARGET_TEST}/{name}"] for name in ("E0_mhe", "E0_literal", "E1", "E2")]
    assert reported == pytest.approx([energy.e0_mhe, energy.e0_literal, energy.e1, energy.e2])


def measure(run: Run, stream: str) -> Measurement:
    return find_task(run.config.data).measure(make_inference(run), run.config, run.pair, stream)


def test_pixels_are_counted_of_the_answers_to_the_images_as_they_are(scenes: Run) -> None:
    inference, stream = make_inference(scenes), scenes.pair.streams[TARGET_TEST]
    confusions = measure(scenes, TARGET_TEST).answers["confusions"]
    assert len(confusions) == len(stream) == 7
    for number, counted in enumerate(confusions):
        reading = stream.read(torch.tensor([number]))
        answers = inference(inference.prepare_input(reading.views[0])).logits.argmax(dim=1)
        assert torch.equal(counted, pixel_counts(answers, reading.labels, 3, ignored=IGNORED))


def find_pixels(rows: Rows, number: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the rows and columns of a grid that the places of an image lie in."""
    points = rows.points[rows.images == number]
    return (points[:, 0] * height).long(), (points[:, 1] * width).long()


def test_places_have_the_class_the_features_and_the_frozen_features_of_where_they_are(scenes: Run) -> None:
    stream, measured = scenes.pair.streams[SOURCE_VAL], measure(scenes, SOURCE_VAL)
    frozen_encoder, inference = load_frozen_encoder(scenes.config), make_inference(scenes)
    rows = measured.rows
    folded = find_task(scenes.config.data).encode_rows(FoldedEncoder(frozen_encoder), scenes.config, stream, rows)
    for number in range(len(stream)):
        reading = stream.read(torch.tensor([number]))
        inputs, mine = inference.prepare_input(reading.views[0]), rows.images == number
        top, left = find_pixels(rows, number, *reading.labels.shape[-2:])
        assert torch.equal(measured.row_labels[mine], reading.labels[0, top, left])
        for found, maps in (
            (rows.features[mine], inference(inputs).maps[-1]),
            (folded[mine], encode(frozen_encoder, inputs)),
        ):
            top, left = find_pixels(rows, number, *maps.shape[-2:])
            torch.testing.assert_close(found, maps[0, :, top, left].T, rtol=1e-4, atol=1e-5)
    assert len(set(measured.row_labels.tolist())) > 2, "classes that could be confused"
