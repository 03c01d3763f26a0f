"""The low-rank factors of a weight."""

from __future__ import annotations

import torch
from torch import Tensor

RANK_STEP = 16
"""Ranks are multiples of this: int8 kernels read so many values at a time."""

_CHUNK = 2**16


def split_by_energy(weight: Tensor, energy: float) -> tuple[Tensor, Tensor] | None:
    """Split a weight into two factors that keep a share of the sum of its squared singular values.

    The singular values go with the second factor: the columns of the first then weigh the same, as one scale
    a row needs them.

    Args:
        weight: W [out, in], float32.
        energy: the share to keep, more than 0 and at most 1.

    Returns:
        U [out, rank] and V [rank, in] with W ~ U V; None where they would be no smaller than W.
    """
    out_features, in_features = weight.shape
    gram = torch.zeros(in_features, in_features, dtype=torch.float64)
    for rows in weight.split(_CHUNK):
        gram += rows.double().T @ rows.double()
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    rank = _rank(values, energy)
    if rank * (out_features + in_features) >= out_features * in_features:
        return None
    deviations, directions = values[:rank].sqrt(), vectors[:, :rank]
    inverse = torch.where(deviations > 0, 1 / deviations, torch.zeros_like(deviations))
    first = weight @ (directions * inverse).float()
    return first, (directions * deviations).T.float().contiguous()


def _rank(values: Tensor, energy: float) -> int:
    """Give the smallest multiple of `RANK_STEP` at which the largest eigenvalues hold the share."""
    reached = values.cumsum(0) >= energy * values.sum()
    needed = int(reached.int().argmax()) + 1 if bool(reached.any()) else len(values)
    return -(-needed // RANK_STEP) * RANK_STEP
