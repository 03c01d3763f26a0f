"""The usual mistakes in posed images, each as what has to be done to the labels to undo it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from transforms3d.quaternions import mat2quat, quat2mat

from hyperpose_core.geometry.poses import Array

SHIFTS = (1, -1, 2, -2, 3, -3)
"""By so many frames labels may be shifted against their images."""
FOCAL_FACTORS = (0.5, 0.6, 0.7, 0.77, 0.83, 0.88, 1.15, 1.25, 1.4, 1.6, 2.0)

_SAME_PLACE = 1e-6
_OFF_CENTRE = 0.15

# Columns: the optical frame's axes (x right, y down, z forward) in the frame that was taken for it.
_FROM_OPENGL = np.diag([1.0, -1.0, -1.0])
_FROM_BODY = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
_QUARTER_TURN = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


@dataclass(frozen=True, eq=False)
class Labels:
    """What a dataset says of the N frames of one sequence, in the order of their recording.

    Attributes:
        rotations: camera-to-world, [N, 3, 3].
        centres: of the cameras in the world, [N, 3].
        intrinsics: of all images, [3, 3], pixels.
        size: of the images as they are read, (width, height).
        camera_size: of the images that the camera model is for.
        free_baseline: whether nothing is known of where the cameras stand.
    """

    rotations: Array
    centres: Array
    intrinsics: Array
    size: tuple[int, int]
    camera_size: tuple[int, int]
    free_baseline: bool = False


@dataclass(frozen=True)
class Mistake:
    """One way in which labels go wrong.

    Attributes:
        name: what is wrong, as it is reported.
        kind: what it is, for tables: mistakes that differ by an amount only are of one kind.
        undo: gives the labels without the mistake.
    """

    name: str
    kind: str
    undo: Callable[[Labels], Labels]


def possible_mistakes(labels: Labels, knows_camera: bool) -> list[Mistake]:
    """Return the mistakes that may have been made in some labels.

    Args:
        labels: of one sequence.
        knows_camera: whether the camera model is the dataset's own, so that it can be wrong.
    """
    mistakes = [*_CONVENTIONS, *_turns(), *_shifts(len(labels.centres))]
    if np.ptp(labels.centres, axis=0).max() < _SAME_PLACE:
        mistakes.append(_TRANSPOSED)
    if knows_camera:
        mistakes += _camera_mistakes(labels)
    return mistakes


def focal_scaled(labels: Labels, factor: float) -> Labels:
    """Return labels whose camera has another focal length and the same principal point."""
    return replace(labels, intrinsics=labels.intrinsics * [[factor, 1.0, 1.0], [1.0, factor, 1.0], [1.0] * 3])


def _inverted(labels: Labels) -> Labels:
    rotations = labels.rotations.transpose(0, 2, 1)
    return replace(labels, rotations=rotations, centres=-np.einsum("nij,nj->ni", rotations, labels.centres))


def _rotation_inverted(labels: Labels) -> Labels:
    return replace(labels, rotations=labels.rotations.transpose(0, 2, 1))


def _reversed_in_time(labels: Labels) -> Labels:
    return replace(labels, rotations=labels.rotations[::-1], centres=labels.centres[::-1])


def _from_axes(axes: Array) -> Callable[[Labels], Labels]:
    return lambda labels: replace(labels, rotations=labels.rotations @ axes)


def _parts_rolled(places: int) -> Callable[[Labels], Labels]:
    def undo(labels: Labels) -> Labels:
        read = [np.roll(mat2quat(rotation), places) for rotation in labels.rotations]
        return replace(labels, rotations=np.array([quat2mat(quaternion) for quaternion in read]))

    return undo


def _shifted(frames: int) -> Callable[[Labels], Labels]:
    def undo(labels: Labels) -> Labels:
        rows = np.clip(np.arange(len(labels.centres)) - frames, 0, len(labels.centres) - 1)
        return replace(labels, rotations=labels.rotations[rows], centres=labels.centres[rows])

    return undo


def _turned(quarters: int) -> Callable[[Labels], Labels]:
    """Return what turns cameras as the pixels were turned: clockwise by quarter turns."""

    def undo(labels: Labels) -> Labels:
        rotations, intrinsics, size = labels.rotations, labels.intrinsics, labels.camera_size
        for _ in range(quarters):
            rotations = rotations @ _QUARTER_TURN
            (fx, _, cx), (_, fy, cy), _ = intrinsics
            intrinsics = np.array([[fy, 0.0, size[1] - 1 - cy], [0.0, fx, cx], [0.0, 0.0, 1.0]])
            size = (size[1], size[0])
        if size != labels.size:  # the camera is already that of the turned images
            intrinsics, size = labels.intrinsics, labels.camera_size
        return replace(labels, rotations=rotations, intrinsics=intrinsics, camera_size=size)

    return undo


def _centred(labels: Labels) -> Labels:
    intrinsics = labels.intrinsics.copy()
    intrinsics[:2, 2] = (np.array(labels.size) - 1) / 2
    return replace(labels, intrinsics=intrinsics)


_CONVENTIONS = (
    Mistake("poses are inverted (world-to-camera taken for camera-to-world)", "inverted", _inverted),
    Mistake(
        "only the rotation is inverted (world-to-camera or transposed, beside camera centres)",
        "rotation inverted",
        _rotation_inverted,
    ),
    Mistake(
        "axes are OpenGL's (x right, y up, z back) instead of the optical frame's",
        "OpenGL axes",
        _from_axes(_FROM_OPENGL),
    ),
    Mistake(
        "axes are a body's (x forward, y left, z up) instead of the optical frame's",
        "body axes",
        _from_axes(_FROM_BODY),
    ),
    Mistake(
        "poses are inverted and axes are OpenGL's (a view matrix)",
        "view matrix",
        lambda labels: _from_axes(_FROM_OPENGL)(_inverted(labels)),
    ),
    Mistake("quaternions are x, y, z, w, read as w, x, y, z", "quaternion order", _parts_rolled(1)),
    Mistake("quaternions are w, x, y, z, read as x, y, z, w", "quaternion order", _parts_rolled(-1)),
    Mistake("poses are reversed in time", "reversed", _reversed_in_time),
)
_TRANSPOSED = Mistake(
    "4x4 matrices are transposed (all positions are the same)",
    "matrix transposed",
    lambda labels: replace(_rotation_inverted(labels), free_baseline=True),
)


def _turns() -> list[Mistake]:
    return [
        Mistake(
            f"images are turned by {90 * quarters} degrees against their poses (EXIF orientation)",
            "EXIF turn",
            _turned(quarters),
        )
        for quarters in (1, 2, 3)
    ]


def _shifts(count: int) -> list[Mistake]:
    return [
        Mistake(
            f"labels are shifted: each image has the pose of the frame {abs(frames)} "
            f"{'before' if frames < 0 else 'after'} it",
            "shifted",
            _shifted(frames),
        )
        for frames in SHIFTS
        if abs(frames) < count
    ]


def _camera_mistakes(labels: Labels) -> list[Mistake]:
    mistakes = [
        Mistake(
            f"the focal length is wrong: about {factor:g} times the camera model's fits",
            "focal length",
            partial(focal_scaled, factor=factor),
        )
        for factor in FOCAL_FACTORS
    ]
    offset = labels.intrinsics[:2, 2] / np.array(labels.size) - 0.5
    if np.abs(offset).max() > _OFF_CENTRE:
        name = "the principal point is wrong: the middle of the images fits"
        mistakes.append(Mistake(name, "principal point", _centred))
    return mistakes
