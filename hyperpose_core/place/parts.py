"""The part of a dataset that a place is learned from, and the part that says how well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hyperpose_core.datasets import UnknownLayoutError, dataset_format, open_dataset
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.datasets.rosbag_poses import NoGroundTruthError
from hyperpose_core.datasets.splits import MissingSplitError, SplitPolicy

_TABLES = (".csv", ".txt", ".tsv")


@dataclass(frozen=True, eq=False)
class Parts:
    """A dataset in two.

    Attributes:
        training: what the network learns from.
        test: what it never sees, in whole blocks of neighbouring frames or as the dataset itself has it.
    """

    training: PosedImageSet
    test: PosedImageSet

    @property
    def whole(self) -> PosedImageSet:
        """All images; a finished map is built from them."""
        return replace(self.training, images=self.training.images + self.test.images)


def has_poses(path: Path) -> bool:
    """Tell whether a path is a dataset with poses, rather than a video, a folder of images or a bag of them.

    Raises:
        HyperPoseError: there is nothing, or a bag that cannot be read.
    """
    try:
        name = dataset_format(path)
    except UnknownLayoutError:
        return False
    if name == "csv":
        return path.is_dir() or path.suffix.lower() in _TABLES
    if name == "rosbag":
        try:
            open_dataset(path, name)
        except NoGroundTruthError:
            return False
    return True


def open_parts(path: Path, format: str = "auto", options: Mapping[str, str] | None = None) -> Parts:
    """Open a dataset's two splits; a dataset without splits is divided into blocks.

    Args:
        path: the dataset.
        format: a name of `DATASET_FORMATS`, or "auto".
        options: the adapter's.

    Raises:
        HyperPoseError: the dataset cannot be opened, or is too small to be divided.
    """
    options = options or {}
    try:
        training, test = (open_dataset(path, format, split, **options) for split in ("train", "test"))
    except MissingSplitError:
        whole = open_dataset(path, format, **options)
        training, test = (
            replace(whole, images=SplitPolicy().select(whole.images, split)) for split in ("train", "test")
        )
    return Parts(training, test)
