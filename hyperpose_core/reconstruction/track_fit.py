"""Where a model lies in the frame of a track, and how long its unit is: a similarity fitted to both ways."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.poses import (
    Array,
    Pose,
    matrix_to_quaternion,
    quaternion_to_matrix,
    rotation_vector_to_quaternion,
    skew,
)
from hyperpose_core.geometry.similarity import Similarity, fit_similarity
from hyperpose_core.reconstruction.model import Model
from hyperpose_core.reconstruction.scale import ScaleError, ScaleEstimate
from hyperpose_core.reconstruction.tracks import TrackedFrames
from hyperpose_core.reconstruction.upright import image_up

_TRIALS = 500
_SEED = 0
_ROUNDS = 15
_BLOCKS = 8
_OUTLIER_DEVIATIONS = 3.0
_MEDIAN_TO_DEVIATION = 1.4826
_LARGEST_RESIDUAL = 0.15  # median, as a share of the track's extent: beyond, the track is of another way
_MOST_LEFT_OUT = 0.3  # of the frames
_NARROW = 0.05  # second extent of a way as a share of its first, below which it is a line
_USUAL_LEVER_M = 1.0
_TELLING_SHARE = 0.6  # of the residuals without a lever arm: one that leaves more explains nothing
_TELLING_LEVER_M = 0.05


@dataclass(frozen=True, eq=False)
class _Fit:
    similarity: Similarity
    lever: Array  # of the camera in the body, metres [3]


def scale_from_track(model: Model, tracked: TrackedFrames) -> ScaleEstimate:
    """Fit a model to a track.

    Where the track is of another body than the camera, the arm between both is solved for, too. The
    deviation is that of fits which leave one stretch of the way out (jackknife).

    Raises:
        ScaleError: fewer than three frames are in both, the track hardly moves, or it is of another way.
    """
    names = [name for name in tracked.names if name in model.poses]
    if len(names) < 3:
        raise ScaleError(f"{tracked.origin}: only {len(names)} frames with a pose are on it")
    rows = [tracked.names.index(name) for name in names]
    centres = np.array([model.poses[name].position for name in names])
    targets = tracked.positions[rows]
    bodies = None
    if tracked.orientations is not None and not tracked.is_of_camera:
        bodies = np.array([quaternion_to_matrix(tracked.orientations[row]) for row in rows])
    used = _inliers(centres, targets)
    fit = _fit(centres[used], targets[used], None if bodies is None else bodies[used])
    residuals = _residuals(fit, centres, targets, bodies)
    extent = float(np.sqrt(np.mean(np.sum((targets - targets.mean(axis=0)) ** 2, axis=1))))
    middle = float(np.median(residuals))
    left_out = int((~used).sum())
    if left_out > _MOST_LEFT_OUT * len(names):
        raise ScaleError(
            f"{tracked.origin}: does not fit: {left_out} of {len(names)} frames are off it, so that "
            "either the track or the model is wrong"
        )
    if not extent > 0.0 or middle > _LARGEST_RESIDUAL * extent:
        raise ScaleError(
            f"{tracked.origin}: does not fit: the reconstructed way is {middle:.2f} m off it in the median, "
            f"over a way of {extent:.2f} m; is it of these images (--track-offset)?"
        )
    similarity = _level_about_line(fit.similarity, centres[used], model)
    lever = float(np.linalg.norm(fit.lever))
    detail = f"{len(names)} frames, {left_out} left out, residual {middle:.3f} m in the median"
    if lever > _TELLING_LEVER_M:
        detail += f", camera {lever:.2f} m from what is tracked"
    scales = _jackknife(centres[used], targets[used], None if bodies is None else bodies[used])
    return ScaleEstimate(
        tracked.origin,
        similarity.scale,
        scales / similarity.scale,
        similarity,
        tracked.frame,
        detail,
    )


def _fit(centres: Array, targets: Array, bodies: Array | None) -> _Fit:
    """Fit a similarity, with an arm between camera and body where that explains much more."""
    plain = _Fit(fit_similarity(centres, targets), np.zeros(3))
    if bodies is None:
        return plain
    fit, noise = plain, float(np.sqrt(np.mean(_residuals(plain, centres, targets, bodies) ** 2)))
    before = noise
    for _ in range(_ROUNDS):
        fit = _improved(fit, centres, targets, bodies, noise)
        noise = float(np.sqrt(np.mean(_residuals(fit, centres, targets, bodies) ** 2)))
    return fit if noise < _TELLING_SHARE * before else plain


def _improved(fit: _Fit, centres: Array, targets: Array, bodies: Array, noise: float) -> _Fit:
    """Take a Gauss-Newton step on target + body lever = scale rotation centre + translation.

    An arm is expected to be about a metre long: parts of it that the way says nothing about stay small.
    """
    moved = fit.similarity.scale * centres @ fit.similarity.pose.rotation().T
    equations = np.zeros((len(centres), 3, 10))
    equations[:, :, 0] = moved
    equations[:, :, 1:4] = [-skew(vector) for vector in moved]
    equations[:, :, 4:7] = np.eye(3)
    equations[:, :, 7:] = -bodies
    wanted = targets + bodies @ fit.lever - fit.similarity.transform(centres)
    prior = np.zeros((3, 10))
    prior[:, 7:] = noise * np.eye(3) / _USUAL_LEVER_M
    step = np.linalg.lstsq(
        np.concatenate([equations.reshape(-1, 10), prior]),
        np.concatenate([wanted.ravel(), -noise * fit.lever / _USUAL_LEVER_M]),
        rcond=None,
    )[0]
    turn = Pose(np.zeros(3), rotation_vector_to_quaternion(step[1:4]))
    orientation = (turn @ Pose(np.zeros(3), fit.similarity.pose.orientation)).orientation
    position = fit.similarity.pose.position + step[4:7]
    scale = fit.similarity.scale * float(np.exp(np.clip(step[0], -0.5, 0.5)))
    return _Fit(Similarity(scale, Pose(position, orientation)), fit.lever + step[7:])


def _residuals(fit: _Fit, centres: Array, targets: Array, bodies: Array | None) -> Array:
    shifted = targets if bodies is None else targets + bodies @ fit.lever
    return np.asarray(np.linalg.norm(fit.similarity.transform(centres) - shifted, axis=1))


def _inliers(centres: Array, targets: Array) -> npt.NDArray[np.bool_]:
    """Tell which frames agree with one another: least median of squares over fits to three frames each."""
    generator = np.random.default_rng(_SEED)
    best = np.linalg.norm(fit_similarity(centres, targets).transform(centres) - targets, axis=1)
    for _ in range(_TRIALS if len(centres) > 3 else 0):
        triple = generator.choice(len(centres), 3, replace=False)
        try:
            residuals = np.linalg.norm(
                fit_similarity(centres[triple], targets[triple]).transform(centres) - targets, axis=1
            )
        except ValueError:
            continue
        if np.median(residuals) < np.median(best):
            best = residuals
    deviation = _MEDIAN_TO_DEVIATION * (1.0 + 5.0 / max(len(best) - 3, 1)) * float(np.median(best))
    return np.asarray(best <= _OUTLIER_DEVIATIONS * max(deviation, 1e-6))


def _jackknife(centres: Array, targets: Array, bodies: Array | None) -> float:
    """Return the standard deviation of the scale from fits that leave out one of several stretches each."""
    blocks = np.array_split(np.arange(len(centres)), min(_BLOCKS, len(centres) // 3))
    if len(blocks) < 3:
        return 0.1 * fit_similarity(centres, targets).scale
    scales = []
    for block in blocks:
        kept = np.setdiff1d(np.arange(len(centres)), block)
        fit = _fit(centres[kept], targets[kept], None if bodies is None else bodies[kept])
        scales.append(fit.similarity.scale)
    values = np.array(scales)
    return float(np.sqrt((len(values) - 1) / len(values) * np.sum((values - values.mean()) ** 2)))


def _level_about_line(similarity: Similarity, centres: Array, model: Model) -> Similarity:
    """Turn a model whose way is a line, which says nothing about the turn around it, so that z is up."""
    _, extents, axes = np.linalg.svd(centres - centres.mean(axis=0), full_matrices=False)
    if extents[1] > _NARROW * extents[0]:
        return similarity
    rotation = similarity.pose.rotation()
    axis = rotation @ axes[0]
    up = rotation @ image_up(list(model.poses.values()))
    level, wanted = up - (up @ axis) * axis, np.array([0.0, 0.0, 1.0]) - axis[2] * axis
    angle = float(np.arctan2(np.cross(level, wanted) @ axis, level @ wanted))
    turn = quaternion_to_matrix(rotation_vector_to_quaternion(axis * angle))
    middle = similarity.transform(centres.mean(axis=0))
    position = turn @ (similarity.pose.position - middle) + middle
    return Similarity(similarity.scale, Pose(position, matrix_to_quaternion(turn @ rotation)))
