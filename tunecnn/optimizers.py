"""Optimizers and learning-rate schedules of a `TrialConfig`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LRScheduler,
    OneCycleLR,
)

from tunecnn.config import TrialConfig


class KerasRMSprop(Optimizer):
    """RMSprop by the rule of Keras 3.

    v <- rho v + (1 - rho) g^2;  w <- w - lr g / sqrt(v + epsilon). Keras adds epsilon under the
    root; `torch.optim.RMSprop` adds it to the root, which at epsilon = 1e-7 is 3,000 times
    smaller and changes the first steps of a weight whose gradients are tiny.

    Args:
        params: weights to train.
        lr: learning rate.
        rho: decay of the mean of squared gradients.
        epsilon: added to that mean.
        weight_decay: decoupled; each step first multiplies the weights by 1 - lr * weight_decay.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 1e-3,
        rho: float = 0.9,
        epsilon: float = 1e-7,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "rho": rho, "epsilon": epsilon, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Change the weights once, by their gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            gradients = [weight.grad for weight in weights]
            if not weights:
                continue
            means = [self._mean(weight) for weight in weights]
            if group["weight_decay"]:
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_mul_(means, group["rho"])
            torch._foreach_addcmul_(means, gradients, gradients, value=1 - group["rho"])
            roots = torch._foreach_add(means, group["epsilon"])
            torch._foreach_sqrt_(roots)
            torch._foreach_addcdiv_(weights, gradients, roots, value=-group["lr"])
        return loss

    def _mean(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["mean_square"] = torch.zeros_like(weight)
        mean: Tensor = state["mean_square"]
        return mean


def make_optimizer(config: TrialConfig, params: Iterable[nn.Parameter]) -> Optimizer:
    """Make the optimizer of a config over some weights."""
    if config.optimizer == "rmsprop":
        return KerasRMSprop(
            params,
            lr=config.learning_rate,
            rho=config.rho,
            epsilon=config.epsilon,
            weight_decay=config.weight_decay,
        )
    if config.optimizer == "adamw":
        return AdamW(
            params,
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            eps=config.epsilon,
            weight_decay=config.weight_decay,
            fused=True,
        )
    return SGD(
        params,
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.nesterov and config.momentum > 0,
        weight_decay=config.weight_decay,
        fused=True,
    )


def make_schedule(config: TrialConfig, optimizer: Optimizer, steps: int) -> LRScheduler:
    """Make the learning-rate schedule of a config; it is advanced once a step.

    Args:
        config: names the schedule.
        optimizer: whose learning rate it sets.
        steps: optimizer steps of the whole training.
    """
    if config.schedule == "one_cycle":
        total = steps + 1  # the scheduler is also advanced after the last step
        rising = max(config.warmup * total - 1, 1e-3)  # OneCycleLR divides by it
        return OneCycleLR(
            optimizer,
            max_lr=config.learning_rate,
            total_steps=total,
            pct_start=(rising + 1) / total,
            cycle_momentum=False,
        )
    if config.schedule == "cosine":
        return CosineAnnealingLR(optimizer, T_max=steps)
    return LambdaLR(optimizer, lambda step: 1.0)
