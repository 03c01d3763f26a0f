"""The simulated camera: where it sits on the vehicle, its lens, and what its sensor makes of a picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose, euler_to_matrix
from hyperpose_core.simulation.conditions import Condition

# x, y, z in metres, roll, pitch, yaw in radians, as in the RobotCar SDK's extrinsics files: the first
# takes INS coordinates to vehicle coordinates, the second vehicle coordinates to the camera's. All are
# x forward, y right, z down.
INS_EXTRINSICS = (-1.6240, 0.1145, 1.1020, -0.0108, 0.0312, 0.0064)
CAMERA_EXTRINSICS = (0.0350, -0.0120, 0.0210, 0.0041, -0.0436, -0.0057)

VEHICLE_HEIGHT_M = 1.72

# Optical coordinates (x right, y down, z forward) to the camera's (x forward, y right, z down).
OPTICAL_TO_CAMERA = ((0.0, 0.0, 1.0, 0.0), (1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))


def simulated_camera(width: int, height: int) -> CameraModel:
    """Return the camera's model: a view of about 71 degrees across, its middle slightly off."""
    focal_length = 0.7 * width
    cx, cy = 0.5 * width + 0.0031 * width, 0.5 * height + 0.0024 * width
    return CameraModel(width, height, focal_length, focal_length, cx, cy)


def pose_of(extrinsics: tuple[float, float, float, float, float, float]) -> Pose:
    """Return the transform that a line of an extrinsics file describes."""
    matrix = np.eye(4)
    matrix[:3, 3] = extrinsics[:3]
    matrix[:3, :3] = euler_to_matrix(*extrinsics[3:])
    return Pose.from_matrix(matrix)


def camera_in_vehicle() -> Pose:
    """Return the pose of the optical frame in the vehicle frame (x forward, y right, z down)."""
    return pose_of(CAMERA_EXTRINSICS).inverse() @ Pose.from_matrix(np.array(OPTICAL_TO_CAMERA))


class Sensor:
    """Exposure, vignetting, noise and the colour mosaic of one run; frames must come in order."""

    def __init__(self, camera: CameraModel, condition: Condition, seed: list[int]) -> None:
        """Start a run."""
        self._condition = condition
        self._rng = np.random.default_rng(seed)
        x = (np.arange(camera.width) - camera.cx) / camera.fx
        y = (np.arange(camera.height) - camera.cy) / camera.fy
        self._vignette = (1.0 - 0.22 * (x[None, :] ** 2 + y[:, None] ** 2)).astype(np.float32)
        self._drift = 0.0

    def expose(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return a picture RGB uint8 [H, W, 3] as the sensor reads it: GBRG mosaic, uint8 [H, W]."""
        self._drift = 0.9 * self._drift + self._rng.normal(0.0, 0.02)
        gain = self._condition.gain * (1.0 + self._drift)
        channels = np.array(self._condition.white_balance, dtype=np.float32) * np.float32(gain)
        mosaic = np.empty(picture.shape[:2], dtype=np.float32)
        for row, column, channel in ((0, 0, 1), (0, 1, 2), (1, 0, 0), (1, 1, 1)):
            mosaic[row::2, column::2] = picture[row::2, column::2, channel] * channels[channel]
        mosaic *= self._vignette
        grain = self._rng.standard_normal(mosaic.shape, dtype=np.float32)
        mosaic += grain * np.sqrt(mosaic / 128.0 + 0.1) * np.float32(self._condition.noise)
        return np.asarray(np.clip(mosaic + 0.5, 0, 255), dtype=np.uint8)
