"""Where full precision is kept under autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


def full_precision(tensor: Tensor) -> AbstractContextManager[object]:
    """Switch autocast off, on the tensor's device, where it is on.

    bfloat16 has 8 bits of mantissa: a position of 30 m would come in steps of 0.1 m. So the layers that give
    poses and scene probabilities, which are tiny, are computed in float32.
    """
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


class OutputLinear(nn.Linear):
    """A linear layer whose result is part of a pose: computed in float32 under autocast too."""

    def forward(self, input: Tensor) -> Tensor:
        """Map [..., in_features] to [..., out_features], float32."""
        with full_precision(input):
            return super().forward(input.to(self.weight.dtype))
