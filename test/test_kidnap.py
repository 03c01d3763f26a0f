"""Three kidnaps of `make kidnap`, in a room with pictures on its walls."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")

from domains import claimed_domain  # noqa: E402
from landmark_scene import tour  # noqa: E402
from refinement_helpers import ROOM, room_checkpoint, room_map  # noqa: E402

from benchmarks.kidnap import Scene, kidnaps, print_table, problems_of, run_kidnaps  # noqa: E402
from benchmarks.kidnap_plot import draw_kidnaps  # noqa: E402
from benchmarks.simulated_robot import Drive, SimulatedRobot  # noqa: E402
from hyperpose_core.geometry.poses import Pose, euler_to_matrix, matrix_to_quaternion  # noqa: E402

MOUNTED = Pose([0.3, 0.0, 0.5], matrix_to_quaternion(euler_to_matrix(-1.5708, 0.0, -1.5708)))


def test_a_robot_that_is_started_carried_or_blinded_is_found_each_time(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    checkpoint = room_checkpoint(tiny_checkpoint, tmp_path / "room.safetensors")
    room_map().save(tmp_path / "room.map")
    poses = tour(400)
    drive = Drive(
        "room",
        tuple(pose @ MOUNTED.inverse() for pose in poses),
        lambda frame: ROOM.render(poses[frame]),
    )
    parameters = (f"checkpoint:={checkpoint}", "threads:=1")
    scene = Scene((drive,), parameters, MOUNTED, least_move_m=0.5, cover_s=2.0)
    with claimed_domain() as domain_id, SimulatedRobot(domain_id) as robot:
        chosen = kidnaps(scene, 3, seed=1, hz=10.0)
        outcomes = list(run_kidnaps(scene, chosen, robot, domain_id, tmp_path / "localizer.txt", hz=10.0))
    log = (tmp_path / "localizer.txt").read_text()
    assert [entry.kind for entry in outcomes] == ["started", "carried", "covered"]
    for entry in outcomes:
        assert entry.found_s is not None, f"{entry}\n{log}"
        assert entry.position_m is not None and entry.position_m < 0.1, entry
        assert entry.orientation_deg is not None and entry.orientation_deg < 1.0, entry
        assert entry.told == 1 and entry.told_while_covered == 0 and entry.answers >= 3, entry
    assert outcomes[2].lost_s is not None, log
    print_table(outcomes)
    draw_kidnaps(tmp_path / "kidnaps.png", outcomes, scene.drives, 3.0)
    # How long it takes is the machine's business here; everything else holds.
    assert all("within" in problem for problem in problems_of(outcomes)), problems_of(outcomes)
    assert (tmp_path / "kidnaps.png").stat().st_size > 1000
