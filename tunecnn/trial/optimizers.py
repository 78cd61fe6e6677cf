"""Optimizers and learning-rate schedules of a `TrialConfig`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LRScheduler,
    OneCycleLR,
)

from tunecnn.errors import InputError
from tunecnn.trial.config import TrialConfig

_STACK = 2**22  # numbers in a stack of padded matrices: 8 MB in bfloat16


class _Untraced(Optimizer):
    """An optimizer without the wrappers that torch puts around its methods for `torch.compile`.

    The wrappers import all of torch._dynamo, which takes 1.5 s at the start of each worker. They
    keep optimizer methods from being traced, which is not needed here: only the forward pass of a
    network is compiled.
    """

    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)


class _AdamW(_Untraced, AdamW):
    step = torch.no_grad()(inspect.unwrap(AdamW.step))


class _SGD(_Untraced, SGD):
    step = torch.no_grad()(inspect.unwrap(SGD.step))


class KerasRMSprop(_Untraced):
    """RMSprop by the rule of Keras 3.

    v <- rho v + (1 - rho) g^2;  w <- w - lr g / sqrt(v + epsilon). Keras adds epsilon under the
    root; `torch.optim.RMSprop` adds it to the root. At epsilon = 1e-7, that is 3,000 times
    smaller, and it changes the first steps of a weight with tiny gradients.

    Args:
        params: weights to train.
        lr: learning rate.
        rho: decay rate of the mean of squared gradients.
        epsilon: constant added to that mean.
        weight_decay: decoupled weight decay; each step first multiplies the weights by
            1 - lr * weight_decay.
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
    def step(self) -> None:  # type: ignore[override]  # a closure is not needed
        """Change the weights once, by their gradients."""
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
            if isinstance(group["lr"], Tensor):  # of a CUDA graph
                updates = torch._foreach_div(gradients, roots)
                torch._foreach_mul_(updates, group["lr"])
                torch._foreach_sub_(weights, updates)
            else:
                torch._foreach_addcdiv_(weights, gradients, roots, value=-group["lr"])

    def _mean(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["mean_square"] = torch.zeros_like(weight)
        mean: Tensor = state["mean_square"]
        return mean


class MuonWithAdamW(_Untraced):
    """Muon for the convolutions and AdamW for all other weights, at one learning rate.

    Muon orthogonalizes each update of a weight matrix and scales it to the size of AdamW's
    updates. The weight of a convolution is treated as a matrix (out, all other dimensions), as in
    Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024). The weight of
    a grouped or depthwise convolution is no such matrix. The dense layers use AdamW, since a Muon
    update of them would cost as much as a forward pass. The rule is
    that of `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`, except for the precision of
    the orthogonalization: torch always uses bfloat16, which is 16 times slower than float32 on a
    CPU without instructions for it.

    Args:
        convs: weights of convolutions without groups, for Muon.
        others: all other weights, for AdamW.
        lr: learning rate of both rules.
        momentum: momentum of Muon.
        nesterov: whether Muon uses Nesterov momentum.
        betas: decay rates of AdamW.
        eps: epsilon of AdamW.
        weight_decay: decoupled weight decay of both rules.
    """

    def __init__(
        self,
        convs: Sequence[nn.Parameter],
        others: Sequence[nn.Parameter],
        lr: float,
        momentum: float,
        nesterov: bool,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        self._adamw = _AdamW(
            [{"params": list(others)}],
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            fused=True,
        )
        muon = {
            "params": list(convs),
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
        }
        super().__init__([muon, *self._adamw.param_groups], {})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # a closure is not needed
        """Change the weights once, by their gradients."""
        muon, *adamw = self.param_groups
        weights = [weight for weight in muon["params"] if weight.grad is not None]
        updates = _orthogonal([self._update(weight, muon) for weight in weights])
        for weight, matrix in zip(weights, updates, strict=True):
            size = 0.2 * math.sqrt(max(matrix.shape))
            update = _as_weight(matrix, weight.shape).to(weight.dtype)
            weight.mul_(1 - muon["lr"] * muon["weight_decay"])
            if isinstance(muon["lr"], Tensor):  # of a CUDA graph
                weight.sub_(update * (muon["lr"] * size))
            else:
                weight.add_(update, alpha=-muon["lr"] * size)
        # The state and the learning rates are shared, so that a schedule and a checkpoint can
        # treat this as one optimizer.
        self._adamw.param_groups, self._adamw.state = adamw, self.state
        self._adamw.step()

    def _update(self, weight: Tensor, group: dict[str, Any]) -> Tensor:
        """Return the mean of a weight's gradients, as a matrix."""
        state, gradient = self.state[weight], weight.grad
        assert gradient is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        mean, momentum = state["momentum_buffer"], group["momentum"]
        mean.lerp_(gradient, 1 - momentum)
        return _as_matrix(gradient.lerp(mean, momentum) if group["nesterov"] else mean)


def _orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Bring the singular values of matrices near 1 by five Newton-Schulz steps.

    On a GPU they are done together in bfloat16, since there the launches take longer than the
    products; on a CPU one by one, in their own precision.
    """
    wide = [matrix.T if _is_tall(matrix) else matrix for matrix in matrices]
    if matrices and matrices[0].is_cuda:
        wide = newton_schulz_together([matrix.bfloat16() for matrix in wide])
    else:
        wide = [newton_schulz(matrix) for matrix in wide]
    return [one.T if _is_tall(of) else one for one, of in zip(wide, matrices, strict=True)]


def newton_schulz(matrices: Tensor) -> Tensor:
    """Bring the singular values of matrices near 1: shape (rows, columns) or (n, rows, columns).

    A single matrix gives the same bits with any number of threads; a stack does not.
    """
    result: Tensor = matrices / matrices.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    add_product = torch.addmm if matrices.dim() == 2 else torch.baddbmm
    for _ in range(5):
        gram = result @ result.mT
        products = add_product(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        result = add_product(result, products, result, beta=3.4445)
    return result


def newton_schulz_together(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Return `newton_schulz` of matrices of several shapes, in few large steps.

    Each is padded with zeros to the largest of its stack, which changes no product. A stack takes
    at most `_STACK` numbers, so that a large network does not multiply zeros for long.
    """
    order = sorted(range(len(matrices)), key=lambda i: -matrices[i].numel())
    results = list(matrices)
    while order:
        rows = max(matrices[i].shape[0] for i in order)
        columns = max(matrices[i].shape[1] for i in order)
        count = max(1, _STACK // (rows * columns))
        together, order = order[:count], order[count:]
        stack = torch.stack([_padded(matrices[i], rows, columns) for i in together])
        for i, result in zip(together, newton_schulz(stack), strict=True):
            height, width = matrices[i].shape
            results[i] = result[:height, :width]
    return results


def _padded(matrix: Tensor, rows: int, columns: int) -> Tensor:
    height, width = matrix.shape
    return pad(matrix, (0, columns - width, 0, rows - height))


def _is_tall(matrix: Tensor) -> bool:
    return matrix.shape[0] > matrix.shape[1]


def _as_matrix(weight: Tensor) -> Tensor:
    """Return a gradient as (out, height * width * in), without a copy in `channels_last`."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _as_weight(matrix: Tensor, shape: torch.Size) -> Tensor:
    """Return what `_as_matrix` made of a weight of some shape as such a weight again."""
    _, channels, height, width = shape
    return matrix.view(-1, height, width, channels).permute(0, 3, 1, 2)


def make_optimizer(config: TrialConfig, network: nn.Module) -> Optimizer:
    """Make the optimizer of a config for the weights of a network that are not frozen."""
    params = [weight for weight in network.parameters() if weight.requires_grad]
    is_real = not any(weight.is_complex() for weight in params)
    if not is_real and config.optimizer in ("rmsprop", "muon"):
        raise InputError(
            f"optimizer: {config.optimizer} is defined for real weights, and this network has "
            "complex ones; use adamw or sgd"
        )
    if config.optimizer == "rmsprop":
        return KerasRMSprop(
            params,
            lr=config.learning_rate,
            rho=config.rho,
            epsilon=config.epsilon,
            weight_decay=config.weight_decay,
        )
    if config.optimizer == "adamw":
        return _AdamW(
            params,
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            eps=config.epsilon,
            weight_decay=config.weight_decay,
            fused=is_real,
        )
    if config.optimizer == "muon":
        convs = [
            module.weight
            for module in network.modules()
            if isinstance(module, nn.Conv2d) and module.groups == 1
            if module.weight.requires_grad
        ]
        matrices = {id(weight) for weight in convs}
        return MuonWithAdamW(
            [weight for weight in params if id(weight) in matrices],
            [weight for weight in params if id(weight) not in matrices],
            lr=config.learning_rate,
            momentum=config.momentum,
            nesterov=config.nesterov,
            betas=(config.beta1, config.beta2),
            eps=config.epsilon,
            weight_decay=config.weight_decay,
        )
    sgd = _SGD(
        params,
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.nesterov and config.momentum > 0,
        weight_decay=config.weight_decay,
        fused=is_real,
    )
    if config.momentum > 0:  # the fused step cannot take a weight whose first gradient comes later
        for weight in params:
            sgd.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return sgd


def make_schedule(config: TrialConfig, optimizer: Optimizer, steps: int) -> LRScheduler:
    """Make the learning-rate schedule of a config, which is advanced once per step.

    Args:
        config: config with the schedule and its settings.
        optimizer: optimizer whose learning rate is set.
        steps: number of optimizer steps in the whole training.
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
