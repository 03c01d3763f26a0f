"""What `make demo` has left behind: its network and map, and the unseen runs to drive along."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.simulated_robot import Drive
from hyperpose_core.datasets import open_dataset
from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.datasets.robotcar_runs import load_run
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Pose
from hyperpose_core.images import RgbImage
from hyperpose_core.refinement.checkpoint_map import map_beside


@dataclass(frozen=True, eq=False)
class Town:
    """A network, its map, and runs that neither has seen.

    Attributes:
        checkpoint: the network's file; the map lies beside it.
        extrinsics: the camera's optical frame in base_link.
        drives: the runs.
    """

    checkpoint: Path
    extrinsics: Pose
    drives: tuple[Drive, ...]


def read_demo(folder: Path) -> Town:
    """Read what the demo has left in a folder.

    Raises:
        HyperPoseError: it is not all there.
    """
    checkpoint, town = folder / "training" / "best.safetensors", folder / "town"
    for path in (checkpoint, map_beside(checkpoint), town):
        if not path.exists():
            raise HyperPoseError(f"{path} is missing: `make demo` makes it; run that first")
    images = open_dataset(town, split="test").images
    runs = list(dict.fromkeys(image.sequence for image in images))
    extrinsics = load_run(town, runs[0]).base_link_from_optical
    drives = (_drive(run, [image for image in images if image.sequence == run], extrinsics) for run in runs)
    return Town(checkpoint, extrinsics, tuple(drives))


def _drive(name: str, records: list[PosedImage], extrinsics: Pose) -> Drive:
    def read(frame: int) -> RgbImage:
        return records[frame].read()

    camera_to_body = extrinsics.inverse()
    return Drive(name, tuple(record.pose @ camera_to_body for record in records), read)
