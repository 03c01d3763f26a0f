"""Where a model lies and how long its unit is: fits on ways whose truth is known, without any images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pycolmap", reason="pycolmap is missing: pip install 'hyperpose_ros[map]'")

from reconstruction_scene import CAMERA, looking  # noqa: E402

from hyperpose_core.geometry.poses import Pose, rotation_vector_to_quaternion  # noqa: E402
from hyperpose_core.geometry.similarity import Similarity, fit_similarity  # noqa: E402
from hyperpose_core.reconstruction.continuity import jumps  # noqa: E402
from hyperpose_core.reconstruction.frames import Frame, FrameSet  # noqa: E402
from hyperpose_core.reconstruction.model import Model  # noqa: E402
from hyperpose_core.reconstruction.picking import Measurements, pick_frames  # noqa: E402
from hyperpose_core.reconstruction.scale import ScaleError  # noqa: E402
from hyperpose_core.reconstruction.track_fit import scale_from_track  # noqa: E402
from hyperpose_core.reconstruction.tracks import TrackedFrames  # noqa: E402
from hyperpose_core.reconstruction.upright import find_ground, image_up  # noqa: E402

WORLD_TO_MODEL = Similarity(0.4, Pose([5.0, -3.0, 2.0], rotation_vector_to_quaternion([0.3, -1.2, 0.7])))


def drive(count: int = 60) -> list[Pose]:
    """A way round two corners, level, the camera looking ahead."""
    poses, position, yaw = [], np.array([0.0, 0.0, 1.5]), 0.0
    for step in range(count):
        yaw += 0.08 if 15 <= step < 35 or 45 <= step < 55 else 0.0
        position = position + 0.5 * np.array([np.cos(yaw), np.sin(yaw), 0.0])
        poses.append(looking(position, yaw))
    return poses


def model_of(poses: list[Pose], points: np.ndarray | None = None) -> Model:
    """What structure from motion would give: the poses in a world of its own."""
    names = [f"drive/{number:06d}.jpg" for number in range(len(poses))]
    points = np.zeros((0, 3)) if points is None else WORLD_TO_MODEL.transform(points)
    return Model(
        poses={name: WORLD_TO_MODEL.transform_pose(pose) for name, pose in zip(names, poses, strict=True)},
        cameras=dict.fromkeys(names, CAMERA),
        observations={},
        points=points,
        colours=np.zeros((len(points), 3), np.uint8),
        track_lengths=np.full(len(points), 4),
        reprojection_error_px=0.3,
    )


def tracked(poses: list[Pose], noise: float = 0.0, with_orientations: bool = True) -> TrackedFrames:
    generator = np.random.default_rng(0)
    positions = np.array([pose.position for pose in poses])
    return TrackedFrames(
        tuple(f"drive/{number:06d}.jpg" for number in range(len(poses))),
        positions + noise * generator.normal(size=positions.shape),
        np.array([pose.orientation for pose in poses]) if with_orientations else None,
        False,
        "track /odom",
        "frame odom",
    )


def test_a_similarity_is_found_again() -> None:
    points = np.random.default_rng(0).normal(size=(20, 3))
    found = fit_similarity(points, WORLD_TO_MODEL.transform(points))
    assert found.scale == pytest.approx(0.4)
    assert np.allclose(found.transform(points), WORLD_TO_MODEL.transform(points))


def test_a_track_of_the_body_gives_scale_place_and_the_arm_to_the_camera() -> None:
    poses = drive()
    # The body is a metre behind the camera and 0.3 m to its right.
    bodies = [pose @ Pose([0.3, 0.0, -1.0], [1.0, 0.0, 0.0, 0.0]) for pose in poses]
    found = scale_from_track(model_of(poses), tracked(bodies, noise=0.005))
    assert found.metres_per_unit == pytest.approx(1.0 / 0.4, rel=0.002)
    assert found.deviation is not None and found.deviation < 0.01
    assert "camera 1.0" in found.detail
    assert found.placed is not None
    placed = found.placed.transform(model_of(poses).centres())
    gaps = placed - [pose.position for pose in poses]
    assert np.abs(gaps[:, :2]).max() < 0.05


def test_fixes_without_orientation_and_some_far_off_are_borne() -> None:
    poses = drive()
    track = tracked(poses, noise=0.05, with_orientations=False)
    track.positions[::7] += 20.0
    found = scale_from_track(model_of(poses), track)
    assert abs(found.metres_per_unit * 0.4 - 1.0) < min(0.01, 4.0 * float(found.deviation or 0.0))


def test_a_straight_way_is_levelled_by_how_the_camera_is_held() -> None:
    poses = [looking([0.5 * step, 0.0, 1.5], 0.4 * np.sin(step)) for step in range(30)]
    found = scale_from_track(model_of(poses), tracked(poses, with_orientations=False))
    assert found.placed is not None
    up = found.placed.pose.rotation() @ WORLD_TO_MODEL.pose.rotation() @ [0.0, 0.0, 1.0]
    assert up[2] > np.cos(np.radians(1.0))


def test_a_scale_that_a_track_hardly_fixes_is_refused() -> None:
    poses = [looking([0.02 * step, 0.0, 1.5], 0.0) for step in range(30)]
    with pytest.raises(ScaleError):
        scale_from_track(model_of(poses), tracked(poses, noise=2.0, with_orientations=False))


def test_a_model_of_which_much_is_off_the_track_is_refused() -> None:
    poses = drive()
    model = model_of(poses)
    wrong = {name: model.poses[name] for name in model.names[:36]}
    wrong |= {name: Pose(-model.poses[name].position, [0, 1, 0, 0]) for name in model.names[36:]}
    with pytest.raises(ScaleError, match="24 of 60 frames are off it"):
        scale_from_track(replace(model, poses=wrong), tracked(poses, with_orientations=False))


def test_a_camera_that_jumps_is_noticed_and_one_that_turns_or_halts_is_not() -> None:
    model = model_of(drive())
    frames = FrameSet(
        tuple(Frame(name, "drive", number, "") for number, name in enumerate(model.names)), {}, ("drive",)
    )
    assert jumps(model.poses, frames) == []
    moved = dict(model.poses)
    for name in model.names[40:]:
        moved[name] = Pose(moved[name].position + 8.0, moved[name].orientation)
    assert jumps(moved, frames) == [model.names[40]]
    flipped = dict(model.poses)
    flipped[model.names[7]] = flipped[model.names[7]] @ Pose([0, 0, 0], [0, 0, 0, 1])
    assert jumps(flipped, frames) == [model.names[7], model.names[8]]


def test_up_comes_from_level_cameras_however_they_are_tilted() -> None:
    poses = [looking([0, 0, 0], yaw, pitch=0.6) for yaw in np.linspace(0, 2, 20)]
    up = image_up([WORLD_TO_MODEL.transform_pose(pose) for pose in poses])
    assert up @ WORLD_TO_MODEL.pose.rotation()[:, 2] > np.cos(np.radians(0.5))


def test_the_ground_is_found_below_the_cameras_and_no_table_or_ceiling() -> None:
    generator = np.random.default_rng(0)
    floor = np.column_stack([generator.uniform(-5, 15, (400, 2)), generator.normal(0, 0.005, 400)])
    table = np.column_stack([generator.uniform(0, 3, (100, 2)), np.full(100, 0.8)])
    ceiling = np.column_stack([generator.uniform(-5, 15, (600, 2)), np.full(600, 2.6)])
    model = model_of(drive(), np.concatenate([floor, table, ceiling]))
    ground = find_ground(model, image_up(list(model.poses.values())))
    assert ground is not None
    assert np.median(ground.heights) / 0.4 == pytest.approx(1.5, abs=0.02)


def measured(motion: list[float], sharpness: list[float] | None = None) -> Measurements:
    count = len(motion)
    return Measurements(
        np.array(sharpness or [100.0] * count),
        np.full(count, 120.0),
        np.array(motion),
        np.zeros(count, dtype=bool),
    )


def test_frames_are_picked_by_motion_and_the_sharpest_of_each_stretch() -> None:
    # Standing, then slow: three frames a stretch, the middle one sharp.
    picked = pick_frames(
        measured([0.0] * 5 + [0.004] * 30, [50.0] * 5 + [60.0, 100.0, 60.0] * 10), 0.012, most=100
    )
    assert len(picked.indices) in (10, 11, 12)
    assert sum(picked.dropped.values()) + len(picked.indices) == 35
    assert picked.dropped["camera stood still"] >= 3
    sharp = [index for index in picked.indices if index >= 5 and (index - 5) % 3 == 1]
    assert len(sharp) >= 8


def test_a_long_film_is_thinned_out_but_never_torn() -> None:
    dense = pick_frames(measured([0.01] * 1000), 0.006, most=200)
    assert 180 <= len(dense.indices) <= 220
    fast = pick_frames(measured([0.05] * 1000), 0.006, most=200)
    assert np.diff(fast.indices).max() <= 2


def test_a_blurred_frame_is_left_out_where_its_neighbours_suffice() -> None:
    sharpness = [100.0] * 20
    sharpness[10] = 5.0
    slow = pick_frames(measured([0.02] * 20, sharpness), 0.006, most=100)
    assert 10 not in slow.indices and slow.dropped["blurred"] == 1
    fast = pick_frames(measured([0.06] * 20, sharpness), 0.006, most=100)
    assert 10 in fast.indices
