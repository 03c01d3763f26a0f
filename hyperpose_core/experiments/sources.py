"""Finds the datasets that an experiment needs below one folder, whatever the folders between are called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hyperpose_core.datasets import open_dataset
from hyperpose_core.datasets.cambridge import CONDITIONS, ORIGINAL
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.datasets.robotcar import NAMED_SPLITS
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.experiments.datasets import join_datasets
from hyperpose_core.experiments.paper_tables import PaperTable, Unit

_MARKS = {"cambridge": "dataset_train.txt", "7scenes": "TrainSplit.txt"}


class Sources:
    """The datasets below a folder, opened when they are asked for."""

    def __init__(self, root: Path) -> None:
        """Look around in a folder.

        Raises:
            HyperPoseError: there is no such folder.
        """
        if not root.is_dir():
            raise HyperPoseError(f"{root}: no such folder")
        self._root = root
        self._opened: dict[tuple[str, str, bool], tuple[PosedImageSet, PosedImageSet]] = {}

    def open(self, table: PaperTable, unit: Unit) -> tuple[PosedImageSet, PosedImageSet]:
        """Return the images to train on and those to score on.

        Raises:
            HyperPoseError: something is missing or damaged; the message says what.
        """
        key = (table.dataset, unit.name, table.conditions)
        if key not in self._opened:
            open_unit = self._open_robotcar if table.dataset == "robotcar" else self._open_scenes
            self._opened[key] = open_unit(table, unit)
        return self._opened[key]

    def _open_scenes(self, table: PaperTable, unit: Unit) -> tuple[PosedImageSet, PosedImageSet]:
        mark = _MARKS[table.dataset]
        folders = {scene: self._find_scene(scene, mark) for scene in unit.columns}
        missing = [scene for scene, folder in folders.items() if folder is None]
        if missing:
            raise HyperPoseError(
                f"{table.dataset} scene {', '.join(missing)} is missing below {self._root} (<scene>/{mark})"
            )
        found = [folder for folder in folders.values() if folder is not None]
        training = [open_dataset(folder, table.dataset, "train") for folder in found]
        options = self._condition_options() if table.conditions else {}
        test = [open_dataset(folder, table.dataset, "test", **options) for folder in found]
        if table.conditions and _conditions(test) <= {"", ORIGINAL}:
            raise HyperPoseError(
                f"no {', '.join(CONDITIONS)} images of {unit.name} (<condition>/<scene>/seq1/...); "
                "`hyperpose ecl generate` makes them"
            )
        name = f"{table.dataset} {unit.name}"
        return join_datasets(training, f"{name} train"), join_datasets(test, f"{name} test")

    def _open_robotcar(self, table: PaperTable, unit: Unit) -> tuple[PosedImageSet, PosedImageSet]:
        dates = NAMED_SPLITS[f"{unit.name}/train"]
        folder = next((place for place in self._places() if _has_runs(place, dates)), None)
        if folder is None:
            raise HyperPoseError(f"RobotCar runs {', '.join(dates)} are missing below {self._root}")
        tests = [
            open_dataset(folder, "robotcar", split)
            for split in (f"{unit.name}/test1", f"{unit.name}/test2")
            if _has_runs(folder, NAMED_SPLITS[split])
        ]
        if not tests:
            wanted = ", ".join(NAMED_SPLITS[f"{unit.name}/test"])
            raise HyperPoseError(f"RobotCar test runs {wanted} are missing in {folder}")
        return open_dataset(folder, "robotcar", f"{unit.name}/train"), join_datasets(
            tests, f"robotcar {unit.name} test"
        )

    def _condition_options(self) -> dict[str, str]:
        options = {"conditions": "all"}
        for place in self._places():
            if any((place / condition).is_dir() for condition in CONDITIONS):
                return {**options, "extended": str(place)}
        return options

    def _find_scene(self, scene: str, mark: str) -> Path | None:
        for place in self._places():
            if place.name.casefold() == scene.casefold() and (place / mark).is_file():
                return place
        return None

    def _places(self) -> Iterator[Path]:
        """The folder itself and what lies one and two levels below."""
        yield self._root
        for pattern in ("*", "*/*"):
            yield from sorted(path for path in self._root.glob(pattern) if path.is_dir())


def _conditions(parts: Sequence[PosedImageSet]) -> set[str]:
    return {image.condition for part in parts for image in part.images}


def _has_runs(folder: Path, dates: tuple[str, ...]) -> bool:
    return all((folder / date).is_dir() for date in dates)
