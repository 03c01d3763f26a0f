"""A simulated set as small as a test needs it."""

from __future__ import annotations

from pathlib import Path

from hyperpose_core.simulation.options import SimulationOptions, SimulationSummary
from hyperpose_core.simulation.simulate import simulate


def simulate_small(output: Path, seed: int = 0, scenes: int = 1, frames: int = 16) -> SimulationSummary:
    """Write a tiny set in a few seconds: two training runs and a test run of 160x120 images."""
    options = SimulationOptions(
        seed=seed,
        scenes=scenes,
        train=("noon", "overcast"),
        test=("autumn",),
        frames=frames,
        width=160,
        height=120,
        length_m=40.0,
        width_m=36.0,
        texture_scale=0.25,
    )
    return simulate(output, options)
