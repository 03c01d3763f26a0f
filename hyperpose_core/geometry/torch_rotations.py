"""Rotations in batches of PyTorch tensors; conventions are those of `poses`.

Quaternions are (w, x, y, z).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_SMALLEST_SINE = 1e-7


def rotation_vectors_to_quaternions(vectors: Tensor) -> Tensor:
    """Return the unit quaternions [N, 4] of rotation vectors [N, 3], radians."""
    return quaternion_exponential(vectors / 2)


def multiply_quaternions(left: Tensor, right: Tensor) -> Tensor:
    """Return the products of quaternions [N, 4]."""
    w = left[:, :1] * right[:, :1] - (left[:, 1:] * right[:, 1:]).sum(1, keepdim=True)
    vector = left[:, :1] * right[:, 1:] + right[:, :1] * left[:, 1:]
    return torch.cat([w, vector + torch.linalg.cross(left[:, 1:], right[:, 1:])], dim=1)


def quaternions_to_matrices(quaternions: Tensor) -> Tensor:
    """Return the matrices [N, 3, 3] of unit quaternions [N, 4]."""
    w, x, y, z = quaternions.unbind(1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=1).view(-1, 3, 3)


def quaternion_angles(first: Tensor, second: Tensor) -> Tensor:
    """Return the angles [N] in radians between unit quaternions [N, 4]: 2 atan2(|v|, |w|), not an acos."""
    scalar = (first * second).sum(1)
    vector = (
        first[:, :1] * second[:, 1:]
        - second[:, :1] * first[:, 1:]
        - torch.linalg.cross(first[:, 1:], second[:, 1:])
    )
    return 2 * torch.atan2(torch.linalg.vector_norm(vector, dim=1), scalar.abs())


def quaternion_exponential(logarithms: Tensor) -> Tensor:
    """Map logarithms [N, 3] (half the angle in radians, times the axis) to unit quaternions [N, 4]."""
    half_angle = torch.linalg.vector_norm(logarithms, dim=-1, keepdim=True)
    # sinc(x) is sin(pi x) / (pi x): no division by an angle of zero.
    return torch.cat([half_angle.cos(), torch.sinc(half_angle / math.pi) * logarithms], dim=-1)


def quaternion_logarithm(quaternions: Tensor) -> Tensor:
    """Map unit quaternions [N, 4] of either sign to logarithms [N, 3], half the angle at most pi / 2."""
    unit = torch.where(quaternions[:, :1] < 0, -quaternions, quaternions)
    sine = torch.linalg.vector_norm(unit[:, 1:], dim=1, keepdim=True).clamp(min=_SMALLEST_SINE)
    return unit[:, 1:] / sine * torch.atan2(sine, unit[:, :1])
