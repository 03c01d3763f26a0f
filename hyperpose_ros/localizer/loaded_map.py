"""The landmark map that goes with a network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hyperpose_core.checkpoint.file import Checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.landmarks.refiner import Refiner


@dataclass(frozen=True, eq=False)
class LoadedMap:
    """A landmark map, ready to be asked.

    Attributes:
        path: the file that it was loaded from, into memory of its own.
        refiner: localises images in it.
    """

    path: Path
    refiner: Refiner

    @classmethod
    def load(cls, path: Path, checkpoint: Checkpoint, uses_camera_info: bool) -> LoadedMap:
        """Load a map and check that images can be localised in it from a network's answers.

        Args:
            path: the file.
            checkpoint: the network's.
            uses_camera_info: whether the images' intrinsics come from camera_info.

        Raises:
            HyperPoseError: the file is missing or damaged, it is of another world than the network's, or the
                images' intrinsics are not known.
        """
        if not uses_camera_info and checkpoint.camera is None:
            raise HyperPoseError(
                f"{path}: the map needs the camera's intrinsics, which the checkpoint does not know: publish "
                "camera_info and set use_camera_info to true"
            )
        content = LandmarkMap.load(path)
        _check_world(path, content, checkpoint)
        return cls(path, Refiner(content))

    def describe(self) -> str:
        """Name the file and how much it holds."""
        return f"map {self.path} ({len(self.refiner.map.landmarks):,} landmarks)"


def map_beside(checkpoint: Path) -> Path | None:
    """Return the map beside a checkpoint, of the same name with .map; None where there is none."""
    path = checkpoint.with_suffix(".map")
    return path if path.is_file() else None


def _check_world(path: Path, content: LandmarkMap, checkpoint: Checkpoint) -> None:
    if content.world.to_dict() != checkpoint.world.to_dict():
        raise HyperPoseError(f"{path}: the map is of another world than the checkpoint")
