from __future__ import annotations

import pytest
import torch

from tunecnn.data.images import TrialData
from tunecnn.errors import InputError
from tunecnn.trial.batches import Targets
from tunecnn.trial.config import TrialConfig
from tunecnn.trial.faults import device_error
from tunecnn.trial.step import GraphedStep, TrainingStep
from tunecnn.trial.training import Training

SETTINGS = {
    "architecture": "model1",
    "dataset": "digits",
    "batch_size": 16,
    "epochs": 4,
    "schedule": "one_cycle",
    "weight_decay": 0.01,
    "crop": 0.1,
}


class Recorder:
    """Stands for CUDA's graphs: keeps the step that was recorded, and counts its replays."""

    def __init__(self) -> None:
        self.records = self.replays = 0

    def __call__(self, step):
        self.records += 1

        def replay() -> None:
            self.replays += 1
            step()

        return replay


def graphed(config: TrialConfig, data: TrialData) -> tuple[Training, Recorder]:
    training, recorder = Training(config, data), Recorder()
    training._run_step = GraphedStep(
        training._step, training._optimizer, config.batch_size, torch.device("cpu"), recorder
    )
    return training, recorder


def weights(training: Training) -> list[torch.Tensor]:
    return list(training.weights().values())


@pytest.mark.parametrize("optimizer", ["rmsprop", "adamw", "sgd", "muon"])
def test_a_replayed_step_trains_as_one_that_is_not(optimizer, tiny):
    config = TrialConfig(**SETTINGS, optimizer=optimizer, learning_rate=0.003)
    plain = Training(config, tiny)
    replayed, recorder = graphed(config, tiny)
    for _ in range(2):
        expected, found = plain.run_epoch(), replayed.run_epoch()
        assert found.train_loss == pytest.approx(expected.train_loss, rel=1e-5)
        assert found.val_loss == pytest.approx(expected.val_loss, rel=1e-5)
    torch.testing.assert_close(weights(replayed), weights(plain), rtol=1e-3, atol=1e-4)
    assert recorder.records == 1
    assert recorder.replays == 2 * 6 - 3  # 96 images; the first three steps only warm up


def test_a_step_that_draws_on_the_cpu_is_not_replayed(tiny):
    """A graph would replay the one number that was drawn while it was recorded."""
    training = Training(TrialConfig(**SETTINGS), tiny)

    def draws(step):
        torch.rand([])
        return step

    training._run_step = GraphedStep(
        training._step, training._optimizer, 16, torch.device("cpu"), draws
    )
    with pytest.raises(
        InputError, match=r"draws random numbers on the CPU; set cuda_graph: false"
    ):
        training.run_epoch()
    assert not GraphedStep.has_failed


def test_a_smaller_last_batch_is_not_replayed(tiny):
    config = TrialConfig(**{**SETTINGS, "batch_size": 20})
    training, recorder = graphed(config, tiny)
    training.run_epoch()
    training.run_epoch()
    assert recorder.replays == 2 * 4 - 3


def test_a_checkpoint_of_a_replayed_training_has_numbers_and_can_be_continued(tiny):
    config = TrialConfig(**SETTINGS, optimizer="adamw")
    whole = graphed(config, tiny)[0]
    for _ in range(3):
        whole.run_epoch()
    first = graphed(config, tiny)[0]
    first.run_epoch()
    second = graphed(config, tiny)[0]
    second.restore(first.checkpoint())
    second.run_epoch()
    assert second.run_epoch().val_loss == pytest.approx(whole.kept.val_loss, rel=1e-6)
    assert all(isinstance(group["lr"], float) for group in second._optimizer.param_groups)


def test_a_processor_ignores_the_setting(tiny):
    config = TrialConfig(**SETTINGS, cuda_graph=True)
    with_it = [one.val_loss for one in Training(config, tiny)]
    without = [one.val_loss for one in Training(TrialConfig(**SETTINGS), tiny)]
    assert with_it == without


def test_a_step_that_waits_for_the_device_is_no_failing_device(tiny):
    training = Training(TrialConfig.from_dict(SETTINGS), tiny)

    def refuses(step):
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    training._run_step = GraphedStep(
        training._step, training._optimizer, 16, torch.device("cpu"), refuses
    )
    with pytest.raises(InputError, match=r"cannot be replayed .* set cuda_graph") as caught:
        training.run_epoch()
    assert device_error(caught.value) is None


class Given:
    """Stands for the batcher: the images are the logits themselves."""

    device = torch.device("cpu")

    def __init__(self, logits: torch.Tensor, targets: Targets) -> None:
        self.logits, self.targets = logits, targets

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, Targets]:
        given = (self.targets.labels, self.targets.others, self.targets.pasted)
        return self.logits[indices], Targets(
            *(one if one is None else one[indices] for one in given)
        )


def step_on(logits, targets, weights=None, smoothing=0.0) -> TrainingStep:
    optimizer = torch.optim.SGD([logits], lr=0.0)
    return TrainingStep(
        torch.nn.Identity(), optimizer, Given(logits, targets), weights, smoothing, in_bf16=False
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_an_image_counts_by_the_weight_of_its_class_whatever_its_batch_has(smoothing):
    logits = torch.randn(6, 3, requires_grad=True)
    labels, weights = torch.tensor([0, 0, 0, 0, 1, 2]), torch.tensor([0.5, 2.0, 3.0])
    soft = torch.full((6, 3), smoothing / 3)
    soft[torch.arange(6), labels] += 1 - smoothing
    each = -(soft * logits.detach().log_softmax(1)).sum(1) * weights[labels]
    for batch in ([0, 1, 2, 3, 4, 5], [0, 1, 2], [5]):
        step = step_on(logits, Targets(labels), weights, smoothing)
        step(torch.tensor(batch))
        assert step.loss.item() == pytest.approx(each[batch].sum().item(), rel=1e-5)


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 3.0])])
def test_an_image_of_two_counts_for_both_by_their_areas(weights):
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0], [0.0, 4.0, 0.0]], requires_grad=True)
    targets = Targets(
        torch.tensor([0, 0, 2]), torch.tensor([1, 2, 1]), torch.tensor([0.0, 0.25, 1.0])
    )
    # The third image is covered by another of class 1, so its own class does not count.
    soft = torch.tensor([[1.0, 0.0, 0.0], [0.75, 0.0, 0.25], [0.0, 1.0, 0.0]])
    each = -(soft * logits.detach().log_softmax(1) * (1 if weights is None else weights)).sum()
    step = step_on(logits, targets, weights)
    step(torch.arange(3))
    assert step.loss.item() == pytest.approx(each.item(), rel=1e-5)
    assert step.hits.item() == pytest.approx(1.0 + 0.25 + 1.0)
