"""The pose loss (paper, Eq. 3-5), its variants, and the multi-scene term."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hyperpose_core.geometry.torch_rotations import quaternion_angles, quaternion_logarithm
from hyperpose_core.models.output import PoseOutput

POSITION_LOSSES = ("euclidean", "l1")
ORIENTATION_LOSSES = ("paper", "hemisphere", "geodesic", "log_quaternion")


def position_loss(position: Tensor, true_position: Tensor, kind: str = "euclidean") -> Tensor:
    """Return the mean distance of positions [N, 3].

    Args:
        position: as the network gives them.
        true_position: in the same units.
        kind: "euclidean" (Eq. 3), or "l1", the mean absolute difference (MapNet, AtLoc).
    """
    difference = position - true_position
    return difference.abs().mean() if kind == "l1" else torch.linalg.vector_norm(difference, dim=1).mean()


def orientation_loss(orientation: Tensor, true_orientation: Tensor, kind: str = "hemisphere") -> Tensor:
    """Return the mean distance of orientations.

    Args:
        orientation: quaternions [N, 4] of any norm, as a head gives them.
        true_orientation: unit quaternions [N, 4].
        kind: "paper" takes |q* - q| (Eq. 4), which sees q and -q as different; "hemisphere" takes
            min(|q* - q|, |q* + q|), which closed loops need: their labels cannot stay in one hemisphere;
            "geodesic" the angle between the rotations in radians; "log_quaternion" the mean absolute
            difference of the quaternions' logarithms (MapNet, AtLoc).
    """
    unit = nn.functional.normalize(orientation, dim=1)
    if kind == "geodesic":
        return quaternion_angles(unit, true_orientation).mean()
    if kind == "log_quaternion":
        return (quaternion_logarithm(unit) - quaternion_logarithm(true_orientation)).abs().mean()
    distance = torch.linalg.vector_norm(true_orientation - unit, dim=1)
    if kind == "hemisphere":
        distance = torch.minimum(distance, torch.linalg.vector_norm(true_orientation + unit, dim=1))
    return distance.mean()


class PoseLoss(nn.Module):
    """The loss of a batch.

    L = l_x exp(-s_x) + s_x + l_q exp(-s_q) + s_q with learned s_x, s_q (Eq. 5), or one of l_x, l_q alone,
    plus the negative log-likelihood of the scene for multi-scene networks.

    Attributes:
        position_weight: s_x, a parameter.
        orientation_weight: s_q, a parameter.
        branch: "everything", or the one branch whose loss counts: "position" or "orientation".
    """

    def __init__(
        self,
        position_kind: str = "euclidean",
        orientation_kind: str = "hemisphere",
        position_weight: float = 0.0,
        orientation_weight: float = 0.0,
    ) -> None:
        """Start from the log-variances s_x and s_q.

        Args:
            position_kind: see `position_loss`.
            orientation_kind: see `orientation_loss`.
            position_weight: s_x at the start.
            orientation_weight: s_q at the start.

        Raises:
            ValueError: a kind is unknown.
        """
        super().__init__()
        if position_kind not in POSITION_LOSSES or orientation_kind not in ORIENTATION_LOSSES:
            raise ValueError(f"unknown loss: {position_kind!r}, {orientation_kind!r}")
        self.position_kind = position_kind
        self.orientation_kind = orientation_kind
        self.position_weight = nn.Parameter(torch.tensor(float(position_weight)))
        self.orientation_weight = nn.Parameter(torch.tensor(float(orientation_weight)))
        self.branch = "everything"

    def forward(
        self, output: PoseOutput, position: Tensor, orientation: Tensor, scene: Tensor
    ) -> dict[str, Tensor]:
        """Compare a batch with its labels.

        Args:
            output: what the network gave for N images.
            position: true positions [N, 3], in the network's units.
            orientation: true unit quaternions [N, 4].
            scene: true scene ids [N].

        Returns:
            scalars: "total", its terms "position" and "orientation", and "scene" for multi-scene networks.
        """
        terms = {
            "position": position_loss(output.position.float(), position, self.position_kind),
            "orientation": orientation_loss(output.orientation.float(), orientation, self.orientation_kind),
        }
        if self.branch == "everything":
            total = (
                terms["position"] * torch.exp(-self.position_weight)
                + self.position_weight
                + terms["orientation"] * torch.exp(-self.orientation_weight)
                + self.orientation_weight
            )
        else:
            total = terms[self.branch]
        if output.scene_log_probabilities is not None:
            terms["scene"] = nn.functional.nll_loss(output.scene_log_probabilities.float(), scene)
            total = total + terms["scene"]
        return {"total": total, **terms}
