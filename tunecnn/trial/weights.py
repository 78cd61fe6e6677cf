"""Initial weights of convolutions, and the mean of the weights over the steps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from tunecnn.errors import InputError
from tunecnn.models.checking import is_expanded


@torch.no_grad()
def initialize(network: nn.Module, how: str) -> None:
    """Give the convolutions of a network other initial weights; with `own`, nothing is done.

    Frozen weights (`requires_grad` is false) stay as they are.

    Args:
        network: newly built network.
        how: `initialization` of a config, which explains the values.

    Raises:
        InputError: if a convolution has no weights yet (`LazyConv2d`), or computes them from
            others (a parametrization).
    """
    if how == "own":
        return
    for name, module in network.named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        weight = module.weight
        if not isinstance(weight, nn.Parameter) or nn.parameter.is_lazy(weight):
            why = "computes its weights from others (a parametrization)"
            if nn.parameter.is_lazy(weight):
                why = "has no weights before its first images"
            raise InputError(
                f"initialization: {how}: the convolution {name or type(module).__name__} {why}; "
                "leave initialization at own"
            )
        if not weight.requires_grad:
            continue
        # In one memory layout, whatever the network's: with others, torch fails or gives other
        # values.
        new = weight.clone(memory_format=torch.contiguous_format)
        if how == "he":
            nn.init.kaiming_normal_(new, nonlinearity="relu")
        elif how == "orthogonal":
            for group in new.chunk(module.groups):  # no output sees the inputs of others
                nn.init.orthogonal_(group, nn.init.calculate_gain("relu"))
        else:
            for group in new.chunk(module.groups):
                nn.init.dirac_(group[: group.shape[1]])
        weight.copy_(new)


class MeanWeights:
    """The exponential moving average of a network's weights over the steps of its training.

    The decay of step t is at most t / (t + 10), so that the first weights are soon forgotten; a
    decay d is in use from step 10 d / (1 - d) on: 0.99 from 990, 0.999 from 9,990.
    Buffers, such as the statistics of batch normalization, are averaged too. What is no
    floating-point number is copied, and so are buffers and frozen weights with infinities, such as
    the mask of an attention, of which a mean is not a number.

    Args:
        network: network whose weights are averaged.
        decay: share of the mean that a step keeps.

    Attributes:
        steps: number of steps in the mean.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        # Unlike `state_dict`, these name a tensor that two layers share only once.
        tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        self._tensors = {
            name: tensor.detach() for name, tensor in tensors.items() if not is_expanded(tensor)
        }
        self._means = {name: tensor.clone() for name, tensor in self._tensors.items()}
        trained = {name for name, weight in network.named_parameters() if weight.requires_grad}
        self._averaged = [
            name
            for name, mean in self._means.items()
            if mean.is_floating_point() or mean.is_complex()
            if name in trained or bool(mean.isfinite().all())
        ]
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights of one more step to the mean, without a wait for the device."""
        self.steps += 1
        decay = min(self._decay, self.steps / (self.steps + 10))
        torch._foreach_lerp_(
            [self._means[name] for name in self._averaged],
            [self._tensors[name] for name in self._averaged],
            1 - decay,
        )
        for name in self._means.keys() - set(self._averaged):
            self._means[name].copy_(self._tensors[name])

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the weights and their mean, in place: a CUDA graph keeps reading the same."""
        for name, mean in self._means.items():
            weights = self._tensors[name].clone()
            self._tensors[name].copy_(mean)
            mean.copy_(weights)

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Give the network the mean of its weights for a while."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the means by name, and the number of steps."""
        return {**self._means, _STEPS: torch.tensor(self.steps)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state_dict` returned."""
        self.steps = int(state[_STEPS])
        for name, mean in self._means.items():
            mean.copy_(state[name])


_STEPS = "steps of the mean"
