"""`hyperpose simulate`: a small RobotCar, made on the spot."""

from __future__ import annotations

import argparse

from hyperpose_core.simulation.options import SceneSummary, SimulationOptions
from hyperpose_core.simulation.simulate import simulate


def run(arguments: argparse.Namespace) -> int:
    """Simulate as the arguments say.

    Raises:
        HyperPoseError: an option is impossible, the folder holds something else, or panda3d is missing.
    """
    width, height = arguments.size
    length, across = arguments.block
    options = SimulationOptions(
        seed=arguments.seed,
        scenes=arguments.scenes,
        train=tuple(arguments.train),
        test=tuple(arguments.test),
        frames=arguments.frames,
        width=width,
        height=height,
        length_m=length,
        width_m=across,
        speed_m_s=arguments.speed,
        workers=arguments.workers,
    )
    summary = simulate(arguments.output, options, show_progress=True)
    for scene in summary.scenes:
        print("\n".join(_lines(scene)))
    print(f"written to {summary.output} in {summary.seconds:.0f} s")
    return 0


def _lines(scene: SceneSummary) -> list[str]:
    lines = [f"{scene.name}: a loop of {scene.loop_length_m:.0f} m, {scene.loop_extent_m:.0f} m long"]
    for made in scene.runs:
        nearest = made.nearest_train_line_m
        line = f"{made.lateral_offset_m:+.2f} m from the middle of the road"
        if nearest is not None:
            line += f", {nearest:.2f} m from the nearest training run"
        state = "" if made.rendered else ", kept"
        lines.append(
            f"  {made.date}  {made.split:5}  {made.condition:8}  {made.frames} images  {line}{state}"
        )
    return lines
