"""Which frames of a video are worth keeping: sharp ones, a little motion apart, none twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.poses import Array

GrayImage = npt.NDArray[np.uint8]

MEASURED_WIDTH = 320
"""Frames are measured at this width, in pixels of the larger side."""

_CORNERS = 200
_FEWEST_TRACKED = 12
_WIDEST_SPACING = 0.08  # of the larger side; farther apart, the next but one frame shares too little
_STILL = 0.002  # motion between frames, as a share of the larger side, below which the camera stands still
_BLURRED = 0.3  # sharpness, as a share of the neighbours' median
_NEIGHBOURS = 7
_DARK_LEVEL = 12.0  # median grey level
_LEAST_SHARPNESS = 1.0  # of an image in which nothing can be seen


@dataclass(frozen=True, eq=False)
class Measurements:
    """What was measured of N consecutive frames.

    Attributes:
        sharpness: variance of the Laplacian [N].
        brightness: median grey level [N].
        motion: how far the image moved since the frame before [N], as a share of its larger side.
        is_cut: bool [N], whether nothing of the frame before was found again.
    """

    sharpness: Array
    brightness: Array
    motion: Array
    is_cut: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.sharpness)


@dataclass(frozen=True, eq=False)
class Picked:
    """Which frames were chosen, and why others were not.

    Attributes:
        indices: of the chosen frames, increasing.
        dropped: cause -> count.
        cuts: indices of frames that begin a new shot.
    """

    indices: list[int]
    dropped: dict[str, int]
    cuts: list[int]


def shrink(image: npt.NDArray[np.uint8]) -> GrayImage:
    """Return an RGB [H, W, 3] or grey image [H, W] in grey, its larger side `MEASURED_WIDTH` pixels."""
    scale = MEASURED_WIDTH / max(image.shape[:2])
    size = max(8, round(image.shape[1] * scale)), max(8, round(image.shape[0] * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def measure_frames(images: Iterable[GrayImage]) -> Measurements:
    """Measure consecutive frames, each as `shrink` gives it."""
    rows: list[tuple[float, float, float, bool]] = []
    previous: GrayImage | None = None
    for image in images:
        motion = 0.0 if previous is None else image_motion(previous, image)
        sharpness = float(cv2.Laplacian(image, cv2.CV_32F).var())
        rows.append((sharpness, float(np.median(image)), motion or 0.0, motion is None))
        previous = image
    values = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return Measurements(values[:, 0], values[:, 1], values[:, 2], values[:, 3] > 0.5)


def image_motion(first: GrayImage, second: GrayImage) -> float | None:
    """Return the median shift of what both show, as a share of the larger side; None if nothing is found.

    Corners are tracked there and back (Lucas and Kanade); those that do not return are no tracks.
    """
    corners = cv2.goodFeaturesToTrack(first, _CORNERS, 0.01, 5)
    # OpenCV's stubs leave out that there may be none.
    if corners is None:
        return 0.0 if np.abs(first.astype(np.int16) - second).mean() < 1.0 else None  # type: ignore[unreachable]
    there, found, _ = cv2.calcOpticalFlowPyrLK(first, second, corners, None)  # type: ignore[call-overload]
    back, returned, _ = cv2.calcOpticalFlowPyrLK(second, first, there, None)  # type: ignore[call-overload]
    gaps = np.linalg.norm((back - corners).reshape(-1, 2), axis=1)
    tracked = (found.ravel() == 1) & (returned.ravel() == 1) & (gaps < 1.0)
    if tracked.sum() < min(_FEWEST_TRACKED, len(corners)):
        return None
    shifts = np.linalg.norm((there - corners).reshape(-1, 2)[tracked], axis=1)
    return float(np.median(shifts)) / max(first.shape)


def pick_frames(measured: Measurements, spacing: float, most: int) -> Picked:
    """Choose frames about `spacing` of image motion apart, of each stretch the sharpest.

    Args:
        measured: of all frames.
        spacing: wanted motion between frames, as a share of the image's larger side.
        most: choose about so many of a long way at most, unless they would lie too far apart then.
    """
    dark = (measured.brightness < _DARK_LEVEL) | (measured.sharpness < _LEAST_SHARPNESS)
    still = (measured.motion < _STILL) & ~measured.is_cut
    still[:1] = False
    travelled = np.cumsum(measured.motion)
    wanted = float(travelled[-1]) / most if len(travelled) else spacing
    step = max(spacing, min(wanted, _WIDEST_SPACING))
    shots = np.cumsum(measured.is_cut.astype(np.int64))
    # A frame that jumps over several stretches at once is the only one of its own.
    stretches = np.floor(travelled / step).astype(np.int64)
    indices: list[int] = []
    dropped = {"too dark or without any texture": int(dark.sum())}
    for key in sorted(set(zip(shots.tolist(), stretches.tolist(), strict=True))):
        members = np.flatnonzero((shots == key[0]) & (stretches == key[1]) & ~dark)
        if len(members):
            indices.append(int(members[np.argmax(measured.sharpness[members])]))
    blurred = _blurred(measured.sharpness, dark)
    kept = [
        index
        for place, index in enumerate(indices)
        if not blurred[index] or not _can_be_spared(indices, place, travelled, shots)
    ]
    dropped["blurred"] = len(indices) - len(kept)
    dropped["camera stood still"] = int((still & ~dark).sum()) - int(still[kept].sum())
    rest = len(measured) - len(kept) - sum(dropped.values())
    dropped["too little motion since the frame before"] = rest
    cuts = np.flatnonzero(measured.is_cut & ~dark).tolist()
    return Picked(kept, {cause: count for cause, count in dropped.items() if count > 0}, cuts)


def _can_be_spared(indices: list[int], place: int, travelled: Array, shots: npt.NDArray[np.int64]) -> bool:
    """Tell whether the frames before and after a chosen one still lie near to each other without it."""
    if not 0 < place < len(indices) - 1:
        return False
    before, after = indices[place - 1], indices[place + 1]
    return bool(shots[before] == shots[after] and travelled[after] - travelled[before] < _WIDEST_SPACING)


def _blurred(sharpness: Array, dark: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Tell which frames are far less sharp than their neighbours."""
    result = np.zeros(len(sharpness), dtype=bool)
    for index in range(len(sharpness)):
        around = slice(max(0, index - _NEIGHBOURS), index + _NEIGHBOURS + 1)
        bright = sharpness[around][~dark[around]]
        result[index] = bool(len(bright)) and sharpness[index] < _BLURRED * float(np.median(bright))
    return result
