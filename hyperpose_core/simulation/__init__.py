"""A small simulated RobotCar: towns, weather, drives and sensors, written the way RobotCar lies on disk."""

from hyperpose_core.simulation.conditions import CONDITIONS, Condition
from hyperpose_core.simulation.options import (
    SCENE_NAMES,
    RunSummary,
    SceneSummary,
    SimulationOptions,
    SimulationSummary,
)
from hyperpose_core.simulation.simulate import simulate

__all__ = [
    "CONDITIONS",
    "Condition",
    "SCENE_NAMES",
    "RunSummary",
    "SceneSummary",
    "SimulationOptions",
    "SimulationSummary",
    "simulate",
]
