from __future__ import annotations

import io
import math
import warnings

import numpy as np
import pytest
import torch

from tests.support.trained import assert_is_of
from tunecnn import make_config, train
from tunecnn.data.images import Images, TrialData
from tunecnn.errors import InputError, RunError
from tunecnn.trial.batches import to_device
from tunecnn.trial.checkpoint import below, named, pack, unpack
from tunecnn.trial.config import CHOICES
from tunecnn.trial.trained import pack_model, unpack_model
from tunecnn.trial.training import EarlyStopping, Training


def config(**changes):
    return make_config("fast", "proposed", "digits", **{"epochs": 2, "net.width": 0.25, **changes})


def figures(trained):
    return [(m.train_loss, m.train_accuracy, m.val_loss, m.val_accuracy) for m in trained]


def test_the_same_config_and_seed_give_the_same_figures(tiny):
    first, second = figures(train(config(), tiny)), figures(train(config(), tiny))
    assert first == second
    assert figures(train(config(seed=1), tiny)) != first


def test_two_trainings_side_by_side_do_not_disturb_each_other(tiny):
    alone = figures(train(config(), tiny))
    together = zip(train(config(), tiny), train(config(seed=1), tiny), strict=True)
    assert figures(m for m, _ in together) == alone


def test_a_training_leaves_the_processs_random_numbers_alone(tiny):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    list(train(config(epochs=1), tiny))
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize(
    ("optimizer", "schedule", "patience"),
    [
        ("rmsprop", "constant", 2),
        ("adamw", "one_cycle", None),
        ("adamw", "cosine", 3),
        ("sgd", "cosine", None),
        ("muon", "one_cycle", None),
    ],
)
def test_a_training_goes_on_from_its_checkpoint_as_if_nothing_had_been(
    optimizer, schedule, patience, tiny
):
    settings = config(
        epochs=6, optimizer=optimizer, schedule=schedule, patience=patience, crop=0.125
    )
    whole = Training(settings, tiny)
    expected = figures(whole)
    first = Training(settings, tiny)
    begun = figures(first.run_epoch() for _ in range(3))
    second = Training(settings, tiny)
    second.run_epoch()  # whatever it has done before is forgotten
    second.restore(first.checkpoint())
    assert begun + figures(second) == expected
    assert second.kept.epoch == whole.kept.epoch
    for name, weight in whole.weights().items():
        assert torch.equal(second.weights()[name], weight), name


@pytest.mark.parametrize("patience", [None, 2])
def test_a_training_with_each_kind_of_extra_goes_on_from_its_checkpoint(patience, tiny):
    settings = config(
        epochs=6,
        flip=True,
        alternate_flip=True,
        cutout=0.3,
        cutmix=0.5,
        initialization="dirac",
        averaging=0.9,
        patience=patience,
    )
    whole = Training(settings, tiny)
    expected = figures(whole)
    first = Training(settings, tiny)
    begun = figures(first.run_epoch() for _ in range(3))
    second = Training(settings, tiny)
    second.restore(first.checkpoint())
    assert begun + figures(second) == expected
    for name, weight in whole.weights().items():
        assert torch.equal(second.weights()[name], weight), name


@pytest.mark.parametrize("patience", [None, 3])
def test_with_averaging_the_mean_is_what_is_validated_and_kept(patience, tiny):
    plain = Training(config(epochs=3), tiny)
    averaged = Training(config(epochs=3, averaging=0.9, patience=patience), tiny)
    for one, other in zip(plain, averaged, strict=True):
        assert one.train_loss == other.train_loss  # the mean does not change the training
        assert one.val_loss != other.val_loss
    model = unpack_model(pack_model(averaged), "m")
    assert_is_of(averaged, model.logits(tiny.validation.pixels))


def test_an_optimizer_that_goes_on_keeps_the_memory_order_of_its_weights(tiny):
    training = Training(config(optimizer="adamw"), tiny)
    training.run_epoch()
    other = Training(config(optimizer="adamw"), tiny)
    other.restore(training.checkpoint())
    for weight, remembered in other._optimizer.state.items():
        assert remembered["exp_avg"].stride() == weight.stride()


def test_a_checkpoint_keeps_random_states_apart_whatever_their_order():
    states = {
        "cpu": torch.zeros(5056, dtype=torch.uint8),
        "cuda": torch.ones(16, dtype=torch.uint8),
    }
    for _ in range(20):
        tensors, _ = unpack(pack(named("random", states), {}))
        found = below("random", tensors)
        assert {name: len(state) for name, state in found.items()} == {"cpu": 5056, "cuda": 16}


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", "half"])
def test_a_damaged_checkpoint_is_refused(damage, tiny):
    training = Training(config(), tiny)
    training.run_epoch()
    whole = training.checkpoint()
    with pytest.raises(RunError, match="a checkpoint is damaged"):
        training.restore(whole[: len(whole) // 2] if damage == "half" else damage)


@pytest.mark.parametrize("recipe", ["fast", "published"])
@pytest.mark.parametrize("architecture", ["model1", "model2", "proposed"])
def test_every_recipe_learns_what_it_sees(recipe, architecture, tiny):
    rate = {"learning_rate": 2e-3} if recipe == "published" else {}  # 1e-4 is for 100 epochs
    settings = make_config(recipe, architecture, "digits", epochs=20, **{"net.dropout_dense": 0.0},
                           batch_size=16, **{"net.width": 0.5}, **rate)  # fmt: skip
    trained = list(train(settings, tiny))
    assert [m.epoch for m in trained] == list(range(1, 21))
    assert trained[-1].train_loss < 0.7 * trained[0].train_loss
    assert all(0 <= m.val_accuracy <= 1 and m.seconds > 0 for m in trained)


@pytest.mark.parametrize("optimizer", CHOICES["optimizer"])
@pytest.mark.parametrize("schedule", CHOICES["schedule"])
def test_every_optimizer_runs_every_schedule_to_its_end(optimizer, schedule, tiny):
    settings = config(
        optimizer=optimizer, schedule=schedule, learning_rate=1e-3, weight_decay=0.01
    )
    training = Training(settings, tiny)
    assert len(list(training)) == 2
    assert training.finished


def test_a_loss_that_is_not_finite_ends_the_training(tiny):
    trained = list(train(config(epochs=5, optimizer="sgd", learning_rate=1e30), tiny))
    assert trained[-1].diverged
    assert len(trained) < 5


def test_early_stopping_restores_the_weights_of_the_lowest_validation_loss(tiny):
    training = Training(config(epochs=30, patience=2, learning_rate=0.02, seed=5), tiny)
    trained = list(training)
    losses = [m.val_loss for m in trained]
    assert training.kept.epoch == losses.index(min(losses)) + 1
    assert training.kept.val_loss == min(losses)
    model = unpack_model(pack_model(training), "m")
    assert_is_of(training, model.logits(tiny.validation.pixels))


def test_without_early_stopping_the_last_weights_are_kept(tiny):
    training = Training(config(epochs=3), tiny)
    assert list(training)[-1] == training.kept


@pytest.mark.parametrize(
    ("losses", "patience", "stops_after", "best"),
    [
        ([3, 2, 1], 2, None, 3),
        ([1, 2, 3, 4], 2, 3, 1),
        ([1, 1, 1, 1], 3, 4, 1),  # a tie is no improvement
        ([2, 3, 1, 4, 5], 2, 5, 3),
        ([2, math.nan, 1, math.nan, math.nan], 2, 5, 3),
        ([math.nan, 3, 2], 2, 3, 1),  # nothing is lower than what is not a number
        ([1, 2], 1, 2, 1),
    ],
)
def test_patience_is_counted_as_keras_counts_it(losses, patience, stops_after, best):
    stopping, found, stopped = EarlyStopping(patience), None, None
    for epoch, loss in enumerate(losses, start=1):
        is_best, stop = stopping.update(loss)
        found = epoch if is_best else found
        if stop:
            stopped = epoch
            break
    assert (stopped, found) == (stops_after, best)


def test_data_on_the_device_serve_several_trainings(tiny):
    data = to_device(tiny, torch.device("cpu"))
    assert figures(train(config(), data)) == figures(train(config(), tiny))


def test_images_too_small_for_the_network_are_refused(tiny):
    from tunecnn.data.images import Images, TrialData

    small = Images(tiny.train.pixels[:, :4, :4], tiny.train.labels)
    data = TrialData.measure("small", tiny.classes, small, small)
    with pytest.raises(InputError, match="4x4 is too small"):
        next(train(config(), data))


@pytest.mark.slow
def test_digits_are_learned(digits):
    settings = make_config("fast", "proposed", "digits", epochs=12)
    assert list(train(settings, digits.trial_data))[-1].val_accuracy > 0.94


@pytest.mark.parametrize(
    "instructions", [{}, pytest.param({"avx512_bf16": True}, marks=pytest.mark.slow)]
)
def test_bf16_is_computed_only_where_the_processor_has_instructions_for_it(
    instructions, digits, monkeypatch
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions, raising=False)

    def trained(precision):
        settings = make_config("fast", "model1", "digits", epochs=4, precision=precision)
        training = Training(settings, digits.trial_data)
        *_, last = training
        assert {weight.dtype for weight in training.weights().values()} == {torch.float32}
        return last

    plain, asked = trained("fp32"), trained("bf16")
    assert (asked.train_loss == plain.train_loss) == (not instructions)
    assert asked.val_accuracy == pytest.approx(plain.val_accuracy, abs=0.03)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_how_often_an_epoch_waits_for_the_gpu_does_not_depend_on_its_steps(tiny):
    waits = {}
    for batch_size in (48, 6):
        training = Training(config(crop=0.125, flip=True, batch_size=batch_size), tiny, "cuda")
        training.run_epoch()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                training.run_epoch()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        waits[batch_size] = len(caught)
    assert waits[48] == waits[6]


def test_the_balanced_accuracy_is_the_mean_recall_of_the_predictions(tiny):
    training = Training(config(), tiny)
    for _ in range(2):
        metrics = training.run_epoch()
    labels, predicted = np.load(io.BytesIO(training.predictions()))
    assert labels.tolist() == tiny.validation.labels.tolist()
    recalls = [(predicted[labels == label] == label).mean() for label in np.unique(labels)]
    assert metrics.val_balanced_accuracy == pytest.approx(np.mean(recalls))
    assert metrics.val_accuracy == pytest.approx((labels == predicted).mean())


def test_class_weights_make_rare_classes_as_likely_as_others():
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (300, 8, 8, 1), dtype=np.uint8)
    labels = (np.arange(300) % 10 == 0).astype(np.int64)  # a tenth, and nothing to learn
    images = Images(noise, labels)
    data = TrialData.measure(
        "noise", ("often", "rare"), images.take(np.arange(200)), images.take(np.arange(200, 300))
    )
    share = {}
    for weights in ("none", "balanced"):
        shares = []
        for seed in range(3):
            training = Training(config(class_weights=weights, epochs=8, seed=seed), data)
            list(training)
            _, predicted = np.load(io.BytesIO(training.predictions()))
            shares.append(predicted.mean())
        share[weights] = np.mean(shares)
    assert share["none"] < 0.05
    assert share["balanced"] > 0.1


def test_class_weights_and_smoothed_labels_together_leave_what_can_be_learned():
    """Torch's weights smooth towards the rare class: all common images were taken for it."""
    random = np.random.default_rng(0)

    def images(count: int) -> Images:
        labels = (np.arange(count) % 25 == 0).astype(np.int64)
        dark = random.integers(0, 60, (count, 8, 8, 1))
        return Images((dark + labels[:, None, None, None] * 150).astype(np.uint8), labels)

    data = TrialData.measure("bright", ("common", "rare"), images(1000), images(250))
    training = Training(
        make_config(
            "fast",
            "model1",
            "digits",
            epochs=3,
            precision="fp32",
            crop=0.0,
            label_smoothing=0.1,
            class_weights="balanced",
            **{"net.width": 0.25},
        ),
        data,
    )
    *_, last = training
    assert min(last.val_accuracy, last.val_balanced_accuracy) > 0.95


def test_a_patience_of_0_is_none_so_that_a_space_can_compare_it(tiny):
    """The recipe `published` has a patience, which a space can only replace by a value."""
    none, zero = (Training(config(epochs=3, patience=patience), tiny) for patience in (None, 0))
    assert figures(none) == figures(zero)
    assert none.kept.epoch == zero.kept.epoch == 3
