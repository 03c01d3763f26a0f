"""The landmark map that goes with a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hyperpose_core.checkpoint.file import Checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.landmarks.refiner import Refiner
from hyperpose_core.refinement.checkpoint_map import load_map


@dataclass(frozen=True, eq=False)
class LoadedMap:
    """A landmark map, ready to be asked.

    Attributes:
        path: the file that it was loaded from, into memory of its own.
        refiner: localises images in it.
        scene: the one that the network knows; None where it knows several, or names none.
    """

    path: Path
    refiner: Refiner
    scene: str | None

    @classmethod
    def load(
        cls, path: Path, checkpoint: Checkpoint, uses_camera_info: bool, tell: Callable[[str], object]
    ) -> LoadedMap:
        """Load a map and check that images can be localised in it from a network's answers.

        Args:
            path: the file.
            checkpoint: the network's.
            uses_camera_info: whether the images' intrinsics come from camera_info.
            tell: is told, in one line, what of the map cannot be used.

        Raises:
            HyperPoseError: the file is missing or damaged, it is of another world, scene or camera than the
                network's, or the images' intrinsics are not known.
        """
        if not uses_camera_info and checkpoint.camera is None:
            raise HyperPoseError(
                f"{path}: the map needs the camera's intrinsics, which the checkpoint does not know: publish "
                "camera_info and set use_camera_info to true"
            )
        scene = checkpoint.scenes[0] if len(checkpoint.scenes) == 1 else None
        return cls(path, Refiner(load_map(path, checkpoint, tell)), scene)

    def describe(self) -> str:
        """Name the file and how much it holds."""
        return f"map {self.path} ({len(self.refiner.map.landmarks):,} landmarks)"
