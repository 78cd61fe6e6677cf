from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.searching import TEXT, begin
from tests.support.trained import assert_is_of
from tunecnn import load_dataset, load_run, make_config
from tunecnn.data.splits import Split
from tunecnn.errors import InputError
from tunecnn.space.space import SearchSpace
from tunecnn.trial.trained import pack_model, unpack_model
from tunecnn.trial.training import Training
from tunecnn.trial.views import mean_logits


def seen(pixels: torch.Tensor, views: str) -> list[torch.Tensor]:
    """Return what a network is given of images."""
    given = []

    def network(values):
        given.append(values)
        return values.flatten(1)

    mean_logits(network, lambda view: view.float(), pixels, views)
    return given


def drawn(rows: str) -> torch.Tensor:
    """Make an image of one channel; each row is a word of digits."""
    return torch.tensor([[int(one) for one in row] for row in rows.split()], dtype=torch.uint8)


def test_the_views_are_the_image_its_mirror_and_both_moved_by_a_pixel_with_reflected_edges():
    pixels = drawn("123 456 789")[None, :, :, None]
    assert [len(seen(pixels, one)) for one in ("one", "mirrored", "shifted")] == [1, 2, 6]
    views = [view[0, :, :, 0].byte() for view in seen(pixels, "shifted")]
    expected = [
        "123 456 789",
        "321 654 987",
        "565 898 565",
        "565 898 565",
        "545 212 545",
        "545 212 545",
    ]
    assert all(torch.equal(one, drawn(rows)) for one, rows in zip(views, expected, strict=True))


@pytest.mark.parametrize(("side", "moved"), [(2, 1), (32, 1), (64, 2), (224, 7)])
def test_large_images_are_shifted_by_a_32nd_of_their_size(side, moved):
    pixels = torch.arange(side * side).reshape(1, side, side, 1)
    views = seen(pixels, "shifted")
    assert torch.equal(views[2][:, :-moved, :-moved], pixels[:, moved:, moved:].float())
    assert torch.equal(views[4][:, moved:, moved:], pixels[:, :-moved, :-moved].float())


def test_an_image_of_one_pixel_has_only_equal_views():
    pixels = torch.full((2, 1, 1, 3), 7, dtype=torch.uint8)
    assert all(torch.equal(view, pixels.float()) for view in seen(pixels, "shifted"))


def test_the_mean_weighs_the_shifted_views_half(tiny):
    training = Training(make_config("fast", "model1", "digits", epochs=1), tiny)
    training.run_epoch()
    pixels = torch.from_numpy(tiny.validation.pixels)
    model = unpack_model(pack_model(training), "m")
    with torch.no_grad():
        plain, mirror, up, up_mirror, down, down_mirror = (
            model(view.byte()) for view in seen(pixels, "shifted")
        )
        both = (plain + mirror) / 2
        moved = (up + up_mirror + down + down_mirror) / 4
        torch.testing.assert_close(model.with_views("mirrored")(pixels), both)
        torch.testing.assert_close(model.with_views("shifted")(pixels), (both + moved) / 2)
        assert torch.equal(model.with_views("one")(pixels), plain)
    with pytest.raises(InputError, match="unknown views 'mirored'; did you mean 'mirrored'"):
        model.with_views("mirored")


def test_a_mirrored_image_has_the_probabilities_of_the_image(tiny):
    training = Training(make_config("fast", "model1", "digits", epochs=1, views="mirrored"), tiny)
    training.run_epoch()
    model = unpack_model(pack_model(training), "m")
    pixels = tiny.validation.pixels
    ours, mirrored = (model.probabilities(one) for one in (pixels, pixels[:, :, ::-1]))
    np.testing.assert_allclose(ours, mirrored, atol=1e-3)  # in bfloat16 where there is any


@pytest.mark.parametrize("settings", [{}, {"averaging": 0.9}])
def test_the_views_change_what_is_validated_and_not_the_weights(settings, tiny):
    plain, viewed = (
        Training(make_config("fast", "model1", "digits", epochs=3, views=views, **settings), tiny)
        for views in ("one", "shifted")
    )
    for one, other in zip(plain, viewed, strict=True):
        assert one.train_loss == other.train_loss
        assert one.val_loss != other.val_loss
    for name, weight in plain.weights().items():
        assert torch.equal(viewed.weights()[name], weight)


def test_validation_test_and_the_loaded_model_see_the_same_views(tiny):
    training = Training(make_config("fast", "model1", "digits", epochs=2, views="shifted"), tiny)
    list(training)
    images = tiny.validation
    model = unpack_model(pack_model(training), "m")
    logits = model.logits(images.pixels)
    assert_is_of(training, logits)
    assert (model.with_views("one").logits(images.pixels) - logits).abs().max() > 1e-2


def test_a_model_that_is_trained_further_sees_the_images_themselves(tiny):
    training = Training(make_config("fast", "proposed", "digits", epochs=1, views="shifted"), tiny)
    training.run_epoch()
    model = unpack_model(pack_model(training), "m")
    model.train()
    other = model.with_views("mirrored")
    assert all(
        module.training
        for module in (*model.modules(), *other.modules())
        if module is not model.scaling
    )
    calls = []
    model.network.register_forward_pre_hook(lambda *_: calls.append(1))
    pixels = torch.from_numpy(tiny.validation.pixels[:4])
    model(pixels)
    assert len(calls) == 1
    model.probabilities(tiny.validation.pixels[:4])
    assert len(calls) == 7
    assert model.network.training


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("flip: true", ""),
        ("views: one", ""),
        ("views: {choice: [one, mirrored]}", "one of one, mirrored, by trial"),
        (
            "views: shifted",
            "the mean of the logits over 6: itself and its mirror image, a quarter "
            "each, and both shifted up and left, and down and right, an eighth each",
        ),
    ],
)
def test_the_views_of_a_space_in_words(parameters, words):
    text = f"dataset: imagefolder:photos\nparameters: {{{parameters}}}"
    assert SearchSpace.from_text(text).views == words


def test_a_run_says_over_which_views_its_accuracies_are_and_keeps_models_with_them(tmp_path):
    text = TEXT.replace("parameters:", "parameters:\n  views: mirrored")
    run = load_run(begin(tmp_path, text).folder)
    page = (run.path / "summary.md").read_text()
    assert "- views of an image: the mean of the logits over 2: itself and its mirror im" in page
    data = load_dataset("digits", Split(train_images=200)).trial_data.validation
    model = run.load_model()
    assert model.config.views == "mirrored"
    assert run.best is not None
    accuracy = (model.probabilities(data.pixels).argmax(1) == data.labels).mean()
    assert accuracy == run.best["val_accuracy"]
