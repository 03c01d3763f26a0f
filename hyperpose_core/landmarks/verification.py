"""Whether a localisation is true: odds from what a pose predicts and what the image shows.

A wrong pose, too, finds dozens of inliers, because it was chosen for them. What it does not find is the rest
of what should be seen from it. `Evidence` measures that; `VerificationModel` weighs it as a logistic
regression, whose constants `benchmarks/landmark_verification.py` fits to right and wrong poses of several
places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array, Pose, quaternion_to_rotation_vector, relative_quaternion
from hyperpose_core.landmarks.localisation import Localisation
from hyperpose_core.landmarks.refinement import Prior

EVIDENCE_NAMES = ("surprise", "repetition", "spread", "inlier ratio", "precision", "agreement")

_CELLS = (6, 4)
_FEWEST_IN_CELL = 3
_TINY = 1e-9
# A prior without a covariance, or one that nothing is near to, tells nothing: neither for nor against.
_MOST_AGREEMENT = 3.0


@dataclass(frozen=True)
class Evidence:
    """What speaks for a localisation.

    Attributes:
        surprise: natural logarithm of 1 + the log-likelihood ratio by which as many landmarks as were found
            again are no chance: large deviations of a Poisson distribution whose mean is the number found
            in wrong places (in the spirit of Desolneux, Moisan and Morel, Meaningful alignments, IJCV 2000).
        repetition: natural logarithm of the share of what should be seen that is found again, beyond chance.
        spread: share of the image's cells, of those with several landmarks to be seen, where one was found.
        inlier_ratio: natural logarithm of the share of the matches by descriptor that agree with the pose.
        precision: minus the natural logarithm of the position's standard deviation by the distance to what is
            seen.
        agreement: how much nearer to the prior the pose lies than one drawn from the map, natural logarithm,
            at least 0: a prior may be wrong, and then says nothing.
    """

    surprise: float
    repetition: float
    spread: float
    inlier_ratio: float
    precision: float
    agreement: float

    def values(self) -> Array:
        """Return them in the order of `EVIDENCE_NAMES`."""
        return np.array(
            [
                self.surprise,
                self.repetition,
                self.spread,
                self.inlier_ratio,
                self.precision,
                self.agreement,
            ]
        )


@dataclass(frozen=True, eq=False)
class VerificationModel:
    """Odds of a localisation being true, and from which on it is taken for true.

    Attributes:
        weights: [6], of the evidence, in the order of `EVIDENCE_NAMES`.
        bias: natural logarithm of the odds where all evidence is 0.
        threshold: natural logarithm of the odds from which on a pose is verified.
    """

    weights: Array
    bias: float
    threshold: float

    def score(self, evidence: Evidence) -> float:
        """Return the natural logarithm of the odds."""
        return float(self.weights @ evidence.values() + self.bias)

    def to_dict(self) -> dict[str, object]:
        """Return plain data that JSON can hold."""
        return {"weights": self.weights.tolist(), "bias": self.bias, "threshold": self.threshold}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> VerificationModel:
        """Build from what `to_dict` gave.

        Raises:
            ValueError: a value is missing or not finite.
        """
        weights = np.asarray(data["weights"], dtype=np.float64)
        numbers = [float(data[name]) for name in ("bias", "threshold")]  # type: ignore[arg-type]
        if weights.shape != (len(EVIDENCE_NAMES),) or not np.isfinite([*weights, *numbers]).all():
            raise ValueError(f"a verification model has {len(EVIDENCE_NAMES)} finite weights")
        return cls(weights, *numbers)


def weigh(
    localisation: Localisation, camera: CameraModel, prior: Prior | None, viewing_distance: float
) -> Evidence:
    """Collect the evidence for a localisation.

    Args:
        localisation: the pose and what was found again from it.
        camera: the image's.
        prior: where the image was probably taken; None where nothing is known.
        viewing_distance: how far cameras of the map look, metres.
    """
    found, expected = float(localisation.found.sum()), max(localisation.chance, 1.0)
    excess = found * np.log(max(found, _TINY) / expected) - (found - expected) if found > expected else 0.0
    share = max(found - localisation.chance, 0.5) / max(len(localisation.found), 1)
    covariance = np.linalg.pinv(localisation.fitted.information)
    deviation = float(np.sqrt(max(np.trace(covariance[:3, :3]), _TINY**2)))
    return Evidence(
        surprise=float(np.log1p(excess)),
        repetition=float(np.log(share)),
        spread=spread(localisation, camera),
        inlier_ratio=float(np.log(max(localisation.inlier_ratio, _TINY))),
        precision=float(-np.log(max(deviation / viewing_distance, _TINY))),
        agreement=agreement(localisation.fitted.pose, prior, viewing_distance),
    )


def spread(localisation: Localisation, camera: CameraModel) -> float:
    """Return the share of cells that should show landmarks and do.

    Cells with fewer than three landmarks to be seen do not count; at least a quarter of all cells are
    counted, so that one corner is no spread.
    """
    columns, lines = _CELLS
    scaled = localisation.visible.pixels / (camera.width, camera.height) * _CELLS
    cells = np.clip(scaled.astype(np.int64), 0, (columns - 1, lines - 1))
    places = cells[:, 1] * columns + cells[:, 0]
    wanted = np.bincount(places, minlength=columns * lines) >= _FEWEST_IN_CELL
    shown = np.bincount(places[localisation.found], minlength=columns * lines) > 0
    return float((wanted & shown).sum() / max(wanted.sum(), columns * lines / 4))


def agreement(pose: Pose, prior: Prior | None, viewing_distance: float) -> float:
    """Return how much more probable a prior makes a pose than another one a viewing distance away."""
    if prior is None or prior.pose is None or prior.covariance is None:
        return 0.0
    turn = quaternion_to_rotation_vector(relative_quaternion(prior.pose.orientation, pose.orientation))
    residual = np.concatenate([pose.position - prior.pose.position, turn])
    square = float(residual @ np.linalg.pinv(prior.covariance) @ residual)
    deviations = np.sqrt(np.maximum(np.diag(prior.covariance), _TINY**2))
    typical = np.array([viewing_distance] * 3 + [1.0] * 3)
    narrower = float(np.log(np.maximum(typical / deviations, 1.0)).sum())
    return min(max(narrower - square / 2.0, 0.0), _MOST_AGREEMENT)
