"""What every evaluation starts from: estimated and true poses of the same frames, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Pose

_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Comparison:
    """Estimated and true camera poses of N frames; one row is one frame.

    Poses are camera-to-world: positions are camera centres in the world frame, in metres; orientations are
    quaternions (w, x, y, z) that turn vectors of the camera's optical frame (x right, y down, z forward) to
    the world frame. Truth must be finite. An estimate with a value that is not finite, or with a quaternion
    of zeros, stands for a frame without an estimate: it stays in and counts as a failure.

    Attributes:
        estimated_positions: [N, 3] m.
        estimated_orientations: [N, 4] w, x, y, z of any norm and sign.
        true_positions: [N, 3] m.
        true_orientations: [N, 4] w, x, y, z of unit norm and any sign.
        stamps_ns: [N] int64 ns, or None where the data has no clock.
        scenes: [N] labels; errors are given apart for each. Scenes may have unrelated world frames.
        conditions: [N] labels such as "noon" or "winter"; errors are given apart for each.
        milliseconds: [N] time the estimator took for the frame, NaN where it was not measured.
        covariances: [N, 6, 6] of the estimates, or None; order x, y, z, rot x, rot y, rot z, in m and rad, in
            the world frame, the rotation being a perturbation on the left.
        constant_covariance: [6, 6], one for all frames from the same calibration data, to compare with; or
            None.
        up: (3,) direction of the world's vertical, or None to take it from the true camera poses.

    Raises:
        ValueError: if shapes disagree or the truth is no set of poses.
        HyperPoseError: if there is no frame at all.
    """

    estimated_positions: NDArray[np.float64]
    estimated_orientations: NDArray[np.float64]
    true_positions: NDArray[np.float64]
    true_orientations: NDArray[np.float64]
    stamps_ns: NDArray[np.int64] | None = None
    scenes: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    milliseconds: NDArray[np.float64] | None = None
    covariances: NDArray[np.float64] | None = None
    constant_covariance: NDArray[np.float64] | None = None
    up: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Bring every field to its type and checks it."""
        frames = len(self.true_positions)
        if frames == 0:
            raise HyperPoseError("nothing to score: no frame has both an estimate and a true pose")
        self._coerce("estimated_positions", (frames, 3))
        self._coerce("estimated_orientations", (frames, 4))
        self._coerce("true_positions", (frames, 3))
        self._coerce("true_orientations", (frames, 4))
        self._coerce("milliseconds", (frames,))
        self._coerce("covariances", (frames, 6, 6))
        self._coerce("constant_covariance", (6, 6))
        self._coerce("up", (3,))
        self._coerce("stamps_ns", (frames,), np.int64)
        for name in ("scenes", "conditions"):
            labels = tuple(str(label) for label in getattr(self, name)) or ("",) * frames
            if len(labels) != frames:
                raise ValueError(f"{name}: expected {frames} labels, got {len(labels)}")
            object.__setattr__(self, name, labels)
        self._check_truth()

    @classmethod
    def from_poses(
        cls,
        estimated: Sequence[Pose | None],
        true: Sequence[Pose],
        *,
        stamps_ns: Sequence[int] | None = None,
        scenes: Sequence[str] = (),
        conditions: Sequence[str] = (),
        milliseconds: Sequence[float] | None = None,
        covariances: Sequence[NDArray[np.float64] | None] | None = None,
        constant_covariance: NDArray[np.float64] | None = None,
        up: Sequence[float] | None = None,
    ) -> Comparison:
        """Build a comparison from poses; None in `estimated` (and `covariances`) is an unanswered frame.

        Raises:
            ValueError: if lengths disagree.
            HyperPoseError: if there is no frame at all.
        """
        unanswered = np.full(7, np.nan)
        rows = [unanswered if pose is None else np.r_[pose.position, pose.orientation] for pose in estimated]
        estimates = np.asarray(rows, dtype=np.float64).reshape(-1, 7)
        unknown = np.full((6, 6), np.nan)
        return cls(
            estimated_positions=estimates[:, :3],
            estimated_orientations=estimates[:, 3:],
            true_positions=np.asarray([pose.position for pose in true], dtype=np.float64).reshape(-1, 3),
            true_orientations=np.asarray([pose.orientation for pose in true], dtype=np.float64).reshape(
                -1, 4
            ),
            stamps_ns=None if stamps_ns is None else np.asarray(stamps_ns, dtype=np.int64),
            scenes=tuple(scenes),
            conditions=tuple(conditions),
            milliseconds=None if milliseconds is None else np.asarray(milliseconds, dtype=np.float64),
            covariances=None
            if covariances is None
            else np.asarray([unknown if item is None else item for item in covariances], dtype=np.float64),
            constant_covariance=constant_covariance,
            up=None if up is None else np.asarray(up, dtype=np.float64),
        )

    def __len__(self) -> int:
        """Number of frames, the unanswered ones included."""
        return len(self.true_positions)

    def rows(self, chosen: NDArray[np.bool_]) -> Comparison:
        """Return the frames that a mask [N] chooses.

        Raises:
            HyperPoseError: if it chooses none.
        """

        def of(values: NDArray[Any] | None) -> NDArray[Any] | None:
            return None if values is None else values[chosen]

        places = np.flatnonzero(chosen).tolist()
        return replace(
            self,
            estimated_positions=self.estimated_positions[chosen],
            estimated_orientations=self.estimated_orientations[chosen],
            true_positions=self.true_positions[chosen],
            true_orientations=self.true_orientations[chosen],
            stamps_ns=of(self.stamps_ns),
            scenes=tuple(self.scenes[place] for place in places),
            conditions=tuple(self.conditions[place] for place in places),
            milliseconds=of(self.milliseconds),
            covariances=of(self.covariances),
        )

    @property
    def estimated(self) -> NDArray[np.bool_]:
        """[N] True where the estimate is a pose: all values finite and a quaternion that is not zero."""
        finite = np.isfinite(self.estimated_positions).all(axis=1)
        finite &= np.isfinite(self.estimated_orientations).all(axis=1)
        return finite & (np.nan_to_num(self.estimated_orientations) != 0.0).any(axis=1)

    def _coerce(self, name: str, shape: tuple[int, ...], dtype: type = np.float64) -> None:
        value = getattr(self, name)
        if value is None:
            return
        array: NDArray[Any] = np.asarray(value, dtype=dtype)
        if array.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
        object.__setattr__(self, name, array)

    def _check_truth(self) -> None:
        finite = np.isfinite(np.hstack([self.true_positions, self.true_orientations])).all(axis=1)
        norms = np.linalg.norm(self.true_orientations, axis=1)
        bad = np.flatnonzero(~(finite & (np.abs(norms - 1.0) <= _UNIT_TOLERANCE)))
        if bad.size:
            raise ValueError(
                f"true pose of frame {bad[0]} is not finite or its quaternion is not of unit norm"
            )
        if self.up is not None and not (np.isfinite(self.up).all() and np.linalg.norm(self.up) > 0.0):
            raise ValueError(f"up: expected a direction, got {self.up.tolist()}")
