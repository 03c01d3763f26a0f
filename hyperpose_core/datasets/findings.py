"""What adapters find wrong in a dataset's files, counted by cause; checks that all of them make."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Pose

FARTHEST_M = 100_000.0
"""No scene is that wide: a position farther from the middle of its scene is a fault of its label."""

# "-1.#IND", "1.#QNAN", "1.#INF00" of older C libraries there, "-nan(ind)" of newer ones.
_WINDOWS_SPELLING = re.compile(
    r"[+-]?(?:1\.#(?P<kind>INF|IND|[QS]NAN)\d*|nan\((?:ind|snan)\))", re.IGNORECASE
)
_SMALLEST_NORM = 1e-6
_NORM_TOLERANCE = 0.01
_LAST_ROW = (0.0, 0.0, 0.0, 1.0)
_ROW_TOLERANCE = 1e-3


class Findings:
    """Counts faults and frames left out; the first example of each cause is named."""

    def __init__(self) -> None:
        self._dropped: dict[str, tuple[str, int]] = {}
        self._faults: dict[str, tuple[str, int]] = {}

    @property
    def dropped(self) -> dict[str, int]:
        """Frames left out, as cause -> count."""
        return _with_examples(self._dropped)

    @property
    def faults(self) -> dict[str, int]:
        """Faults of the files, as cause -> count."""
        return _with_examples(self._faults)

    def leave_out(self, cause: str, example: str) -> None:
        """Count a frame that is left out, though nothing is wrong with the files."""
        _count(self._dropped, cause, example)

    def fault(self, cause: str, example: str) -> None:
        """Count a fault that costs no frame."""
        _count(self._faults, cause, example)

    def leave_out_faulty(self, cause: str, example: str) -> None:
        """Count a frame that is left out because of a fault."""
        self.leave_out(cause, example)
        self.fault(cause, example)

    def take_faults(self, other: Findings, of: str) -> None:
        """Take over another's faults, which are those of `of` and not of frames."""
        for cause, (example, count) in other._faults.items():
            first, before = self._faults.get(f"{of}: {cause}", (example, 0))
            self._faults[f"{of}: {cause}"] = (first, before + count)

    def pose(self, position: npt.ArrayLike, quaternion: npt.ArrayLike, frame: str) -> Pose | None:
        """Build a pose from a position [3] in metres and a quaternion [4] (w, x, y, z) of any norm.

        Args:
            position: three numbers.
            quaternion: four numbers.
            frame: what to call the frame where it is at fault.

        Returns:
            the pose, or None where the numbers are none; that is counted.
        """
        quaternion = np.asarray(quaternion, dtype=np.float64)
        if not (np.isfinite(position).all() and np.isfinite(quaternion).all()):
            self.leave_out_faulty("pose not finite", frame)
            return None
        norm = float(np.linalg.norm(quaternion))
        if norm < _SMALLEST_NORM:
            self.leave_out_faulty("quaternion of zero norm", frame)
            return None
        if abs(norm - 1.0) > _NORM_TOLERANCE:
            self.fault("quaternion not of unit norm, normalised", frame)
        return Pose(np.asarray(position, dtype=np.float64), quaternion)

    def pose_from_matrix(self, matrix: npt.ArrayLike, frame: str) -> Pose | None:
        """Build a pose from a homogeneous 4x4 matrix; None, and counted, where it is none."""
        matrix = np.asarray(matrix, dtype=np.float64)
        if not np.isfinite(matrix).all():
            self.leave_out_faulty("pose not finite", frame)
            return None
        if matrix.shape == (4, 4) and not np.allclose(matrix[3], _LAST_ROW, atol=_ROW_TOLERANCE):
            self.leave_out_faulty("matrix whose last row is not 0 0 0 1: transposed?", frame)
            return None
        try:
            return Pose.from_matrix(matrix)
        except ValueError:
            self.leave_out_faulty("rotation matrix that is no rotation", frame)
            return None

    def without_far_positions(self, images: Sequence[PosedImage]) -> list[PosedImage]:
        """Leave out images whose position is absurdly far (100 km) from the middle of their scene."""
        middles = {
            scene: np.median([image.pose.position for image in images if image.scene == scene], axis=0)
            for scene in {image.scene for image in images}
        }
        kept = []
        for image in images:
            if np.linalg.norm(image.pose.position - middles[image.scene]) > FARTHEST_M:
                name = "/".join(part for part in (image.scene, image.sequence, image.path.name) if part)
                self.leave_out_faulty("position more than 100 km from the rest of its scene", name)
            else:
                kept.append(image)
        return kept


def read_number(text: str) -> float:
    """Read a number as programs write them, what Windows calls not a number or infinite included.

    Raises:
        ValueError: the text is something else.
    """
    spelled = _WINDOWS_SPELLING.fullmatch(text)
    return float(text) if spelled is None else float("inf" if spelled["kind"] == "INF" else "nan")


def natural_order(name: str) -> list[tuple[int, str]]:
    """Return a sorting key that puts "frame2" before "frame10"."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if index % 2 else (-1, part) for index, part in enumerate(parts)]


def first_image_size(images: Iterable[PosedImage]) -> tuple[int, int] | None:
    """Return (width, height) of the first image that can be read, None where none can."""
    for image in images:
        try:
            height, width = image.read().shape[:2]
        except HyperPoseError:
            continue
        return width, height
    return None


def _count(counts: dict[str, tuple[str, int]], cause: str, example: str) -> None:
    first, count = counts.get(cause, (example, 0))
    counts[cause] = (first, count + 1)


def _with_examples(counts: dict[str, tuple[str, int]]) -> dict[str, int]:
    return {
        f"{cause} ({example})" if count == 1 else f"{cause} (first: {example})": count
        for cause, (example, count) in counts.items()
    }
