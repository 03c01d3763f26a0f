"""The RobotCar adapter on the real logs of two runs, without images."""

from __future__ import annotations

from functools import reduce
from operator import matmul
from pathlib import Path

import numpy as np
import pytest

from hyperpose_core.datasets.robotcar_runs import RobotCarRun, load_run
from hyperpose_core.geometry.poses import Array, Pose, position_errors

TRAIN_DATE, TEST_DATE = "2014-06-26-08-53-56", "2014-06-23-15-36-04"
STEPS = 16


def real_run(shared_data: Path, date: str, pose_source: str = "ins") -> RobotCarRun:
    root = shared_data / "robotcar" / "loop"
    for needed in (root / date / "gps" / "ins.csv", root / date / "vo" / "vo.csv", root.parent / "sdk"):
        if not needed.exists():
            pytest.skip(f"the real RobotCar logs are missing: no {needed}")
    return load_run(root, date, require_images=False, pose_source=pose_source)


@pytest.fixture(scope="module")
def runs(shared_data: Path) -> dict[str, RobotCarRun]:
    """The training and the test run, with poses from the INS."""
    return {date: real_run(shared_data, date) for date in (TRAIN_DATE, TEST_DATE)}


def camera_centres(run: RobotCarRun) -> Array:
    return np.array([pose.position for pose in run.camera_poses])


def moves_over_16_steps(run: RobotCarRun) -> tuple[Array, Array]:
    """Movements [N, 3] in the camera's frame at their start: by visual odometry, by the adapter."""
    vo = run.vo
    assert vo is not None
    place = {stamp: index for index, stamp in enumerate(run.stamps_ns.tolist())}
    optical_from_vehicle = run.base_link_from_optical.inverse() @ Pose(
        np.zeros(3), np.array([0.0, 1.0, 0.0, 0.0])
    )
    by_vo, by_adapter = [], []
    for first in range(len(vo.steps) - STEPS):
        last = first + STEPS
        unbroken = vo.source_stamps_ns[first : last - 1] == vo.destination_stamps_ns[first + 1 : last]
        start = place.get(int(vo.destination_stamps_ns[first]))
        end = place.get(int(vo.source_stamps_ns[last - 1]))
        if unbroken.all() and start is not None and end is not None:
            move = (
                optical_from_vehicle @ reduce(matmul, vo.steps[first:last]) @ optical_from_vehicle.inverse()
            )
            by_vo.append(move.position)
            by_adapter.append((run.camera_poses[start].inverse() @ run.camera_poses[end]).position)
    return np.array(by_vo), np.array(by_adapter)


@pytest.mark.parametrize("date", [TRAIN_DATE, TEST_DATE])
def test_camera_poses_agree_with_visual_odometry(runs: dict[str, RobotCarRun], date: str) -> None:
    by_vo, by_adapter = moves_over_16_steps(runs[date])
    moving = np.linalg.norm(by_vo, axis=1) > 3.0
    by_vo, by_adapter = by_vo[moving], by_adapter[moving]
    travel = np.linalg.norm(by_vo, axis=1)
    sideways, vertical, forward = np.abs(by_adapter - by_vo).T

    assert len(travel) > 2000
    assert np.median(forward / travel) < 0.04
    assert np.median(sideways) < 0.09
    assert np.median(vertical) < 0.15
    # The car drives forwards only, and so does a camera that looks along +z.
    assert (by_adapter[:, 2] > 0.8 * np.linalg.norm(by_adapter, axis=1)).all()


def test_frames_in_gaps_are_dropped_and_both_runs_share_a_world(runs: dict[str, RobotCarRun]) -> None:
    train, test = runs[TRAIN_DATE], runs[TEST_DATE]

    assert train.dropped == {"outside the range of INS": 1, "in a gap of INS over 0.5 s": 248}
    assert test.dropped == {"in a gap of INS over 0.5 s": 182}
    assert train.world.origin.tolist() == test.world.origin.tolist() == [620200.0, 5736400.0, 100.0]
    # Both drive the same streets.
    nearest = [position_errors(camera_centres(train), centre).min() for centre in camera_centres(test)]
    assert np.median(nearest) < 5.0


def test_visual_odometry_drifts_slowly_from_the_ins(shared_data: Path, runs: dict[str, RobotCarRun]) -> None:
    ins, vo = runs[TRAIN_DATE], real_run(shared_data, TRAIN_DATE, "vo")
    _, of_ins, of_vo = np.intersect1d(ins.stamps_ns, vo.stamps_ns, return_indices=True)
    by_ins, by_vo = camera_centres(ins)[of_ins], camera_centres(vo)[of_vo]
    travelled = np.cumsum(np.linalg.norm(np.diff(by_ins, axis=0, prepend=by_ins[:1]), axis=1))
    error = position_errors(by_vo, by_ins)
    early = (travelled > 20.0) & (travelled < 200.0)

    assert error[0] < 1e-9
    assert early.sum() > 200
    assert (error[early] < 0.06 * travelled[early]).all()
