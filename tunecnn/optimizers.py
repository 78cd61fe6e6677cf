"""Optimizers and learning-rate schedules of a `TrialConfig`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Muon, Optimizer
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
        loss = _loss_of(closure)
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


class MuonWithAdamW(Optimizer):
    """`torch.optim.Muon` for the convolutions, AdamW for all else, at one learning rate.

    Muon makes each update of a weight matrix orthogonal, and scales it to the size of AdamW's
    (`match_rms_adamw`). A convolution's weight is taken as the matrix (out, all else), as in
    Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024). The dense
    layers stay with AdamW: there an update would cost as much as a forward pass.

    Args:
        params: weights to train; those with four dimensions are the convolutions'.
        lr: learning rate of both.
        momentum: of Muon.
        nesterov: whether Muon's momentum is Nesterov's.
        betas: of AdamW.
        eps: of AdamW.
        weight_decay: decoupled, of both.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        nesterov: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
        weight_decay: float = 0.0,
    ) -> None:
        params = list(params)
        self._convs = [weight for weight in params if weight.ndim == 4]
        others = [weight for weight in params if weight.ndim != 4]
        self._matrices = [nn.Parameter(_as_matrix(weight.detach())) for weight in self._convs]
        self._muon = Muon(
            self._matrices, lr=lr, momentum=momentum, nesterov=nesterov,
            weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw",
        )  # fmt: skip
        self._adamw = AdamW(
            others, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=True
        )
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Change the weights once, by their gradients."""
        loss = _loss_of(closure)
        for matrix, weight in zip(self._matrices, self._convs, strict=True):
            matrix.grad = None if weight.grad is None else _as_matrix(weight.grad)
        # One state and one set of learning rates for both, so that this is one optimizer to a
        # schedule and to a checkpoint.
        self._muon.param_groups, self._adamw.param_groups = (
            self.param_groups[:1],
            self.param_groups[1:],
        )
        self._muon.state = self._adamw.state = self.state
        self._muon.step()  # type: ignore[no-untyped-call]
        self._adamw.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, also those of the convolutions' own weights."""
        super().zero_grad(set_to_none)
        for weight in self._convs:
            if set_to_none:
                weight.grad = None
            elif weight.grad is not None:
                weight.grad.zero_()


def _loss_of(closure: Callable[[], float] | None) -> float | None:
    """Do what torch asks of each `step`: call the closure, with gradients, if there is one."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def _as_matrix(weight: Tensor) -> Tensor:
    """View a convolution's weight or gradient as (out, height * width * in), nothing copied."""
    return weight.permute(0, 2, 3, 1).flatten(1)


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
    if config.optimizer == "muon":
        return MuonWithAdamW(
            params,
            lr=config.learning_rate,
            momentum=config.momentum,
            nesterov=config.nesterov,
            betas=(config.beta1, config.beta2),
            eps=config.epsilon,
            weight_decay=config.weight_decay,
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
