"""What the paper's tables are made of, as data: methods, recipes, scenes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CAMBRIDGE = ("KingsCollege", "OldHospital", "ShopFacade", "StMarysChurch")
SEVEN_SCENES = ("chess", "fire", "heads", "office", "pumpkin", "redkitchen", "stairs")


@dataclass(frozen=True)
class Unit:
    """What one network is trained on, and the columns of the table that it fills.

    Attributes:
        name: a scene, a RobotCar route, or "all" for all scenes together.
        columns: scenes or RobotCar test runs, as `published.csv` names them.
    """

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Method:
    """One row of a table.

    Attributes:
        name: as `published.csv` has it.
        recipe: a shipped recipe's name.
        joint: one network for all scenes.
    """

    name: str
    recipe: str
    joint: bool = False


@dataclass(frozen=True)
class PaperTable:
    """One of the paper's experiments.

    Attributes:
        name: how the command line calls it.
        title: what it shows.
        number: of the table in `published.csv`, None where that has no figures of it.
        dataset: a format of `hyperpose_core.datasets`.
        units: what networks for one scene (or route) are trained on.
        methods: the rows that this project can make.
        statistics: of the errors.
        conditions: score on every condition of the test images.
        note: what to know when comparing.
    """

    name: str
    title: str
    number: int | None
    dataset: str
    units: tuple[Unit, ...]
    methods: tuple[Method, ...]
    statistics: tuple[str, ...] = ("median",)
    conditions: bool = False
    note: str = ""

    def units_of(self, method: Method) -> tuple[Unit, ...]:
        """Return what a method's networks are trained on, one network each."""
        if not method.joint:
            return self.units
        return (Unit("all", tuple(column for unit in self.units for column in unit.columns)),)


def _scenes(names: tuple[str, ...]) -> tuple[Unit, ...]:
    return tuple(Unit(name, (name,)) for name in names)


_BASELINES_CAMBRIDGE = (
    Method("AtLoc", "atloc_cambridge"),
    Method("AtLoc w/ hypernet", "hyperatloc_cambridge"),
    Method("Baseline APR", "posenet_cambridge"),
    Method("Baseline APR w/ hypernet", "hyperpose_cambridge"),
)

PAPER_TABLES: Mapping[str, PaperTable] = {
    table.name: table
    for table in (
        PaperTable(
            name="table1",
            title="Table 1: with and without hypernetwork, stage 1 only, Cambridge Landmarks",
            number=1,
            dataset="cambridge",
            units=_scenes(CAMBRIDGE),
            methods=_BASELINES_CAMBRIDGE,
        ),
        PaperTable(
            name="table2",
            title="Table 2: Cambridge Landmarks",
            number=2,
            dataset="cambridge",
            units=_scenes(CAMBRIDGE),
            methods=(
                Method("Baseline APR w/ hypernet", "hyperpose_cambridge_three_stages"),
                Method("MS-Transformer", "mstransformer_cambridge", joint=True),
                Method("MS-HyperPose", "mshyperpose_cambridge_three_stages", joint=True),
            ),
        ),
        PaperTable(
            name="table3",
            title="Table 3: 7Scenes",
            number=3,
            dataset="7scenes",
            units=_scenes(SEVEN_SCENES),
            methods=(
                Method("Baseline APR w/ hypernet", "hyperpose_7scenes_three_stages"),
                Method("MS-Transformer", "mstransformer_7scenes", joint=True),
                Method("MS-HyperPose", "mshyperpose_7scenes_three_stages", joint=True),
            ),
        ),
        PaperTable(
            name="table4",
            title="Table 4: Oxford RobotCar",
            number=4,
            dataset="robotcar",
            units=(Unit("loop", ("LOOP1", "LOOP2")), Unit("full", ("FULL1", "FULL2"))),
            methods=(
                Method("AtLoc", "atloc_robotcar"),
                Method("AtLoc w/ hypernet", "hyperatloc_robotcar"),
            ),
            statistics=("median", "mean"),
            note="Published RobotCar figures are errors of the INS body's pose, these of the camera's. How "
            "the paper's AtLoc with hypernetwork encoded rotations is not known.",
        ),
        PaperTable(
            name="ecl",
            title="Extended Cambridge Landmarks: networks trained on the original images, scored on others",
            number=None,
            dataset="cambridge",
            units=_scenes(CAMBRIDGE),
            methods=_BASELINES_CAMBRIDGE,
            conditions=True,
        ),
    )
}
"""The experiments by name. Methods that the paper only cites have no recipe here and are left out."""
