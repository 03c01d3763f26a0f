"""Drive with wheels that drift, and hold map -> base_link, as TF has it, against the truth.

    python -m benchmarks.drift --demo demo --output demo/drift             # or: make drift, after make demo

The demo's unseen runs at 10 Hz over DDS, each once with the landmark map (`refinement: refine`, at the pace
that the refiner has) and once with the network alone; `tf_mode: map_odom`, and wheel odometry that
overestimates every metre and every turn by 2%. Ten times a second, as a controller would, map -> base_link is
looked up as tf2 does it: at odometry's newest stamp, map -> odom interpolated between its transforms.

A jump is how far the position looked up lies from the one before carried on by odometry. With the map, what
has to hold once the robot is localized: no jump of more than 0.3 m; medians of at most 0.15 m and 0.5
degrees. Exit code 1, with the reasons, where something does not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.demo_drives import Town, read_demo
from benchmarks.simulated_robot import (
    ODOMETRY_A_FRAME,
    Drive,
    Instant,
    SimulatedRobot,
    localizer,
    numbers_of,
    processor_s,
)
from hyperpose_core.command_line import run_command
from hyperpose_core.files import replace_text
from hyperpose_core.geometry.poses import Array, Pose, orientation_errors_deg
from hyperpose_ros.tf.odometry import PoseBuffer

MOST_JUMP_M, MOST_METRES, MOST_DEGREES = 0.3, 0.15, 0.5
_MAP, _NETWORK = "with the map", "network alone"


@dataclass(frozen=True)
class Ride:
    """What came of one drive.

    Attributes:
        drive: the run's name.
        kind: with the map, or the network alone.
        looked_up: how often map -> base_link was known.
        first_s: from the first image until it was.
        position_m: errors of the position: median, 95%, most.
        orientation_deg: likewise.
        jump_m: jumps of the position: median, 95%, most.
        wheels_m: how far off the wheels alone were at the end.
        answers: how many images the map was asked about.
        processor_s: the localizer's processor time.
    """

    drive: str
    kind: str
    looked_up: int
    first_s: float
    position_m: tuple[float, float, float]
    orientation_deg: tuple[float, float, float]
    jump_m: tuple[float, float, float]
    wheels_m: float
    answers: int
    processor_s: float


def ride(town: Town, drive: Drive, kind: str, domain_id: int, hz: float, log: Path) -> Ride:
    """Drive along a run once."""
    parameters = [
        f"checkpoint:={town.checkpoint}",
        "refinement:=refine" if kind == _MAP else "refinement:='off'",
        "odometry_source:=topic",
        "tf_mode:=map_odom",
        f"camera_extrinsics:={numbers_of(town.extrinsics)}",
    ]
    with SimulatedRobot(domain_id, hz) as robot, localizer(domain_id, parameters, log) as process:
        robot.wait_for_localizer()
        worked_s = processor_s(process)
        instants, found = _drive_along(robot, drive, hz)
        worked_s = processor_s(process) - worked_s
        answers = sum(said.values.get("source") == "map" for said in robot.statuses)
    return _score(drive.name, kind, instants, found, answers, worked_s)


def _drive_along(
    robot: SimulatedRobot, drive: Drive, hz: float
) -> tuple[list[Instant], list[tuple[int, Pose]]]:
    """Drive, and return every instant, and the places of those where map -> base_link was known, with it."""
    buffer, heard = PoseBuffer(), 0
    instants: list[Instant] = []
    found: list[tuple[int, Pose]] = []
    frames = len(drive.bodies) - 1
    for tick, instant in enumerate(
        tqdm(robot.drive(drive, 0, frames), total=frames * ODOMETRY_A_FRAME + 1, disable=None)
    ):
        instants.append(instant)
        for stamp_ns, pose in robot.map_to_odom[heard:]:
            buffer.add(stamp_ns, pose)
            heard += 1
        map_to_odom = buffer.at(instant.stamp_ns) if tick % ODOMETRY_A_FRAME == 0 else None
        if map_to_odom is not None:
            found.append((tick, map_to_odom @ instant.odometry))
    return instants, found


def _score(
    name: str,
    kind: str,
    instants: Sequence[Instant],
    found: Sequence[tuple[int, Pose]],
    answers: int,
    worked_s: float,
) -> Ride:
    truths = [instants[tick].body for tick, _ in found]
    poses = [pose for _, pose in found]
    metres = np.array([np.linalg.norm(p.position - t.position) for p, t in zip(poses, truths, strict=True)])
    degrees = np.array(
        [orientation_errors_deg(p.orientation, t.orientation) for p, t in zip(poses, truths, strict=True)]
    )
    jumps = np.array(
        [
            np.linalg.norm(pose.position - (before @ _driven(instants, earlier, tick)).position)
            for (earlier, before), (tick, pose) in zip(found[:-1], found[1:], strict=True)
        ]
    )
    start = instants[0]
    wheels = start.body @ _driven(instants, 0, -1)
    return Ride(
        drive=name,
        kind=kind,
        looked_up=len(found),
        first_s=(instants[found[0][0]].stamp_ns - start.stamp_ns) / 1e9 if found else float("inf"),
        position_m=_summary(metres),
        orientation_deg=_summary(degrees),
        jump_m=_summary(jumps),
        wheels_m=float(np.linalg.norm(wheels.position - instants[-1].body.position)),
        answers=answers,
        processor_s=worked_s,
    )


def _driven(instants: Sequence[Instant], start: int, end: int) -> Pose:
    return instants[start].odometry.inverse() @ instants[end].odometry


def _summary(values: Array) -> tuple[float, float, float]:
    if not len(values):
        return (float("nan"),) * 3
    return float(np.median(values)), float(np.quantile(values, 0.95)), float(values.max())


def problems_of(rides: Sequence[Ride]) -> list[str]:
    """Return what does not hold, in words."""
    problems = []
    for entry in rides:
        if entry.kind != _MAP:
            continue
        if not entry.looked_up:
            problems.append(f"{entry.drive}: never localized")
        if not entry.jump_m[2] <= MOST_JUMP_M:
            problems.append(f"{entry.drive}: a jump of {entry.jump_m[2]:.2f} m")
        if not (entry.position_m[0] <= MOST_METRES and entry.orientation_deg[0] <= MOST_DEGREES):
            off = f"{entry.position_m[0]:.2f} m, {entry.orientation_deg[0]:.2f} degrees"
            problems.append(f"{entry.drive}: medians of {off}")
    return problems


def print_table(rides: Sequence[Ride]) -> None:
    """Print a row a drive."""
    print(f"\n{'':36} {'position: median, 95%, most':>28} {'orientation':>24} {'jumps':>24} {'first':>8} "
          f"{'answers':>8} {'CPU':>8} {'wheels':>8}")  # fmt: skip
    for entry in rides:
        groups = [
            ", ".join(f"{value:.2f}" for value in values)
            for values in (entry.position_m, entry.orientation_deg, entry.jump_m)
        ]
        print(
            f"{entry.drive:20} {entry.kind:15} {groups[0]:>26} m {groups[1]:>20} deg {groups[2]:>22} m "
            f"{entry.first_s:6.1f} s {entry.answers:8} {entry.processor_s:6.1f} s {entry.wheels_m:6.1f} m"
        )


def _run(arguments: argparse.Namespace) -> int:
    town = read_demo(arguments.demo)
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    rides = []
    for drive in town.drives:
        for kind in (_MAP, _NETWORK):
            print(f"{drive.name}, {kind}", flush=True)
            begin = time.monotonic()
            log = output / "localizer.txt"
            rides.append(ride(town, drive, kind, arguments.domain, arguments.rate, log))
            print(f"  {time.monotonic() - begin:.0f} s", flush=True)
    document = {"rate": arguments.rate, "rides": [asdict(entry) for entry in rides]}
    replace_text(output / "results.json", json.dumps(document, indent=2) + "\n", "results")
    print_table(rides)
    problems = problems_of(rides)
    print("\n".join(f"FAILED: {problem}" for problem in problems) or "all of it holds")
    print(f"\nresults: {output / 'results.json'}")
    return 1 if problems else 0


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="drift", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demo", type=Path, default=Path("demo"), help="folder of `make demo` [demo]")
    parser.add_argument("--output", type=Path, default=Path("demo/drift"), help="folder [demo/drift]")
    parser.add_argument("--rate", type=float, default=10.0, help="images a second [10]")
    domain = int(os.environ.get("ROS_DOMAIN_ID", "97"))
    parser.add_argument("--domain", type=int, default=domain, help="ROS domain that nobody else uses")
    arguments = parser.parse_args()
    return run_command("drift", lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())
