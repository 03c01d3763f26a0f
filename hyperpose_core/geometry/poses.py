"""Rigid transforms, quaternions and pose errors: the only place where conventions live.

Quaternions are (w, x, y, z), unit, w >= 0. A `Pose` maps vectors of a child frame to its parent frame; a
camera's pose is camera-to-world, the camera's frame being the optical one (x right, y down, z forward).
Lengths are metres; angles are radians unless a name ends in `_deg`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from transforms3d import euler, quaternions

Array = npt.NDArray[np.float64]

_SMALLEST_QUATERNION_NORM = 1e-6


@dataclass(frozen=True, eq=False)
class Pose:
    """A rigid transform from a child frame to its parent frame.

    Attributes:
        position: origin of the child frame in the parent frame, float64 [3], metres.
        orientation: unit quaternion (w, x, y, z), w >= 0, float64 [4], rotating child vectors to the parent.
    """

    position: Array
    orientation: Array

    def __post_init__(self) -> None:
        """Bring both parts to float64 and the quaternion to its canonical form.

        Raises:
            ValueError: the position is not three finite numbers, or the quaternion is zero or not finite.
        """
        position = np.array(self.position, dtype=np.float64)
        if position.shape != (3,) or not np.isfinite(position).all():
            raise ValueError(f"a position is three finite numbers, not {self.position!r}")
        object.__setattr__(self, "position", position)
        object.__setattr__(self, "orientation", normalize_quaternion(self.orientation))

    @classmethod
    def identity(cls) -> Pose:
        """Return the transform that leaves every vector as it is."""
        return cls(np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))

    @classmethod
    def from_matrix(cls, matrix: npt.ArrayLike) -> Pose:
        """Build a pose from a homogeneous 4x4 matrix, whose rotation is projected to the nearest rotation."""
        matrix = np.asarray(matrix, dtype=np.float64)
        return cls(matrix[:3, 3], matrix_to_quaternion(matrix[:3, :3]))

    def rotation(self) -> Array:
        """Return the rotation as a 3x3 matrix."""
        return quaternion_to_matrix(self.orientation)

    def matrix(self) -> Array:
        """Return the homogeneous 4x4 matrix."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation()
        matrix[:3, 3] = self.position
        return matrix

    def inverse(self) -> Pose:
        """Return the transform from the parent frame to the child frame."""
        conjugate = quaternions.qconjugate(self.orientation)
        return Pose(-quaternion_to_matrix(conjugate) @ self.position, conjugate)

    def __matmul__(self, other: Pose) -> Pose:
        """Chain two transforms: (a @ b) takes vectors of b's child frame to a's parent frame."""
        return Pose(
            self.rotation() @ other.position + self.position,
            quaternions.qmult(self.orientation, other.orientation),
        )

    def transform(self, points: npt.ArrayLike) -> Array:
        """Take points [..., 3] of the child frame to the parent frame."""
        return np.asarray(points, dtype=np.float64) @ self.rotation().T + self.position


def normalize_quaternion(quaternion: npt.ArrayLike) -> Array:
    """Scale quaternions [..., 4] to unit norm and to the hemisphere w >= 0.

    Raises:
        ValueError: a quaternion is not four finite numbers, or its norm is zero.
    """
    quaternion = np.asarray(quaternion, dtype=np.float64)
    if quaternion.shape[-1:] != (4,) or not np.isfinite(quaternion).all():
        raise ValueError("a quaternion is four finite numbers (w, x, y, z)")
    norm = np.linalg.norm(quaternion, axis=-1, keepdims=True)
    if (norm < _SMALLEST_QUATERNION_NORM).any():
        raise ValueError("a quaternion of zero norm is no rotation")
    return quaternion / norm * np.where(quaternion[..., :1] < 0, -1.0, 1.0)


def quaternion_to_matrix(quaternion: npt.ArrayLike) -> Array:
    """Return the 3x3 rotation of a quaternion [4]."""
    return np.asarray(quaternions.quat2mat(quaternion), dtype=np.float64)


def matrix_to_quaternion(matrix: npt.ArrayLike) -> Array:
    """Return the quaternion [4] of the rotation nearest to a 3x3 matrix (its polar factor).

    Published rotations are slightly off orthonormal; the projection makes the result independent of how.

    Raises:
        ValueError: the matrix is not finite or is nearer to a reflection than to a rotation.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    if not np.isfinite(matrix).all() or np.linalg.det(matrix) <= 0:
        raise ValueError("not a rotation matrix: its determinant is not positive or it is not finite")
    left, _, right = np.linalg.svd(matrix)
    return normalize_quaternion(quaternions.mat2quat(left @ right))


def euler_to_matrix(roll: float, pitch: float, yaw: float) -> Array:
    """Return Rz(yaw) Ry(pitch) Rx(roll), 3x3, from angles in radians."""
    return np.asarray(euler.euler2mat(roll, pitch, yaw, "sxyz"), dtype=np.float64)


def matrix_to_euler(matrix: npt.ArrayLike) -> tuple[float, float, float]:
    """Return (roll, pitch, yaw) in radians of a rotation Rz(yaw) Ry(pitch) Rx(roll)."""
    roll, pitch, yaw = euler.mat2euler(np.asarray(matrix, dtype=np.float64), "sxyz")
    return float(roll), float(pitch), float(yaw)


def rotation_vector_to_quaternion(vector: npt.ArrayLike) -> Array:
    """Return the quaternion [4] of a rotation vector [3] (axis times angle in radians)."""
    vector = np.asarray(vector, dtype=np.float64)
    angle = float(np.linalg.norm(vector))
    axis = vector if angle > 0 else np.array([1.0, 0.0, 0.0])
    return normalize_quaternion(quaternions.axangle2quat(axis, angle))


def quaternion_to_rotation_vector(quaternion: npt.ArrayLike) -> Array:
    """Return the rotation vectors [..., 3] (axis times angle in [0, pi], radians) of quaternions [..., 4]."""
    quaternion = normalize_quaternion(quaternion)
    vector = quaternion[..., 1:]
    sine = np.linalg.norm(vector, axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, quaternion[..., :1])
    return vector * np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 2.0)


def relative_quaternion(reference: npt.ArrayLike, quaternion: npt.ArrayLike) -> Array:
    """Return quaternion * conjugate(reference) [..., 4]: the left perturbation that leads from reference."""
    a = np.asarray(quaternion, dtype=np.float64)
    b = np.asarray(reference, dtype=np.float64) * np.array([1.0, -1.0, -1.0, -1.0])
    w = a[..., 0] * b[..., 0] - np.sum(a[..., 1:] * b[..., 1:], axis=-1)
    vector = a[..., :1] * b[..., 1:] + b[..., :1] * a[..., 1:] + np.cross(a[..., 1:], b[..., 1:])
    return np.concatenate([w[..., None], vector], axis=-1)


def position_errors(estimated: npt.ArrayLike, true: npt.ArrayLike) -> Array:
    """Return the distances [N] in metres between positions [N, 3]."""
    difference = np.asarray(estimated, dtype=np.float64) - np.asarray(true, dtype=np.float64)
    return np.asarray(np.linalg.norm(difference, axis=-1))


def orientation_errors_deg(estimated: npt.ArrayLike, true: npt.ArrayLike) -> Array:
    """Return the geodesic angles [N] in degrees between quaternions [N, 4] of any norm but zero.

    2 atan2(|v|, |w|) of the relative quaternion: exact near zero, where an acos is not.
    """
    relative = relative_quaternion(true, estimated)
    vector_norm = np.linalg.norm(relative[..., 1:], axis=-1)
    return np.asarray(np.degrees(2.0 * np.arctan2(vector_norm, np.abs(relative[..., 0]))))


def interpolate_poses(stamps_ns: npt.ArrayLike, poses: list[Pose], query_ns: int) -> Pose:
    """Interpolate a time-ordered list of poses at one stamp: linear in position, slerp in orientation.

    Args:
        stamps_ns: strictly increasing stamps [N], integer nanoseconds.
        poses: N poses.
        query_ns: a stamp within the range of `stamps_ns`.

    Raises:
        ValueError: the query lies outside the range.
    """
    stamps = np.asarray(stamps_ns, dtype=np.int64)
    if not len(stamps) or not stamps[0] <= query_ns <= stamps[-1]:
        raise ValueError(f"stamp {query_ns} lies outside the poses' range")
    after = int(np.searchsorted(stamps, query_ns))
    if stamps[after] == query_ns:
        return poses[after]
    fraction = float(query_ns - stamps[after - 1]) / float(stamps[after] - stamps[after - 1])
    start, end = poses[after - 1], poses[after]
    position = (1.0 - fraction) * start.position + fraction * end.position
    return Pose(position, slerp(start.orientation, end.orientation, fraction))


def slerp(start: npt.ArrayLike, end: npt.ArrayLike, fraction: float) -> Array:
    """Interpolate between two quaternions along the shorter arc; fraction 0 is start, 1 is end."""
    step = quaternion_to_rotation_vector(relative_quaternion(start, end)) * fraction
    return normalize_quaternion(quaternions.qmult(rotation_vector_to_quaternion(step), np.asarray(start)))


def skew(vector: npt.ArrayLike) -> Array:
    """Return the 3x3 matrix S with S u = vector x u."""
    x, y, z = np.asarray(vector, dtype=np.float64)
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def rotate_covariance(covariance: npt.ArrayLike, rotation: npt.ArrayLike) -> Array:
    """Express a 6x6 pose covariance (x, y, z, rot x, rot y, rot z) in a frame turned by `rotation` 3x3."""
    block = np.kron(np.eye(2), np.asarray(rotation, dtype=np.float64))
    return np.asarray(block @ np.asarray(covariance, dtype=np.float64) @ block.T)


def move_covariance(covariance: npt.ArrayLike, lever_in_world: npt.ArrayLike) -> Array:
    """Move a pose covariance to another point of the same rigid body.

    The rotation part is a left perturbation in the world frame, so a point at `lever_in_world` metres from
    the old origin moves by d_theta x lever: the adjoint couples both parts.
    """
    transfer = np.eye(6)
    transfer[:3, 3:] = -skew(lever_in_world)
    return np.asarray(transfer @ np.asarray(covariance, dtype=np.float64) @ transfer.T)
