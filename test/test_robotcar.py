"""The RobotCar adapter: frames, worlds, images."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from robotcar_layout import (
    DOWN,
    EASTING,
    FIRST_IMAGE_S,
    IMAGE_COUNT,
    IMAGE_STEP_S,
    LATITUDE,
    NORTHING,
    SPEED,
    base_link_poses,
    image_stamps_us,
    ride_east,
    ride_in_a_circle,
    write_run,
    write_sdk,
)

from hyperpose_core.datasets.robotcar import open_robotcar
from hyperpose_core.datasets.robotcar_runs import load_run
from hyperpose_core.errors import HyperPoseError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dataset with one run that drives east, past a world zero that is given in the tests."""
    folder = tmp_path / "town"
    write_sdk(folder)
    write_run(folder, "2014-06-26-08-53-56")
    return folder


def test_a_camera_in_a_known_place_sees_a_known_point_where_it_must(root: Path) -> None:
    dataset = open_robotcar(root, origin=f"{EASTING},{NORTHING},{-DOWN}")
    first = dataset.images[0]

    # 0.1 s at 5 m/s east; the camera is 1.7 m ahead of the INS, 0.1 m to its left (north) and 1.2 m above it.
    np.testing.assert_allclose(first.pose.position, [0.5 + 1.7, 0.1, 1.2], atol=1e-6)
    ten_ahead_two_right_one_up = first.pose.position + [10.0, -2.0, 1.0]
    x, y, z = first.pose.inverse().transform(ten_ahead_two_right_one_up)
    camera = dataset.camera
    assert camera is not None
    pixel = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy
    np.testing.assert_allclose(pixel, [8.5 + 12.0 * 2 / 10, 6.5 - 12.0 * 1 / 10], atol=1e-6)
    assert (camera.width, camera.height) == (16, 12)
    assert first.stamp_ns == image_stamps_us()[0] * 1000


def test_nose_up_looks_up_and_right_side_down_lowers_the_right(tmp_path: Path) -> None:
    write_sdk(tmp_path)
    write_run(tmp_path, "nose_up", lambda seconds: (*ride_east(seconds)[:4], 0.1, ride_east(seconds)[5]))
    write_run(tmp_path, "right_down", lambda seconds: (*ride_east(seconds)[:3], 0.1, *ride_east(seconds)[4:]))

    forward = open_robotcar(tmp_path, dates="nose_up").images[0].pose.rotation()[:, 2]
    right = open_robotcar(tmp_path, dates="right_down").images[0].pose.rotation()[:, 0]

    np.testing.assert_allclose(forward, [math.cos(0.1), 0.0, math.sin(0.1)], atol=1e-6)
    np.testing.assert_allclose(right, [0.0, -math.cos(0.1), -math.sin(0.1)], atol=1e-6)


def test_the_left_camera_looks_to_the_left(root: Path) -> None:
    run = root / "2014-06-26-08-53-56"
    (run / "mono_left.timestamps").write_text((run / "stereo.timestamps").read_text())

    pose = open_robotcar(root, camera="mono_left", require_images="false").images[0].pose

    np.testing.assert_allclose(pose.rotation() @ [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], atol=1e-6)


def test_base_link_is_level_heads_along_the_drive_and_carries_camera_and_ins(root: Path) -> None:
    run = load_run(root, "2014-06-26-08-53-56", origin=(EASTING, NORTHING, -DOWN))

    base = base_link_poses(run)[0]
    np.testing.assert_allclose(base.rotation(), np.eye(3), atol=1e-6)
    np.testing.assert_allclose(base.position, run.camera_poses[0].position, atol=1e-9)
    np.testing.assert_allclose(run.base_link_from_ins.position, [-1.7, -0.1, -1.2], atol=1e-12)
    np.testing.assert_allclose(run.base_link_from_optical.rotation()[:, 2], [1.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(run.ins.poses[0].position, [0.0, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(run.ins.velocities[0], [SPEED, 0.0, 0.0], atol=1e-5)
    np.testing.assert_allclose(run.ins_base_link_track().poses[0].position, [1.7, 0.1, 1.2], atol=1e-6)
    odometry = run.vo_base_link_track()
    assert odometry.stamps_ns.tolist() == run.stamps_ns.tolist()
    np.testing.assert_allclose(
        odometry.poses[-1].position, [SPEED * IMAGE_STEP_S * (IMAGE_COUNT - 1), 0.0, 0.0], atol=1e-6
    )
    assert run.gps is not None
    assert (run.gps.latitude_deg[0], run.gps.altitude[0], run.gps.deviations[0, 1]) == (LATITUDE, 65.5, 1.5)


def test_the_world_is_near_the_drive_and_the_same_however_runs_are_opened(root: Path) -> None:
    write_run(root, "2014-06-23-15-36-04", ride_in_a_circle)

    both = open_robotcar(root)
    alone = open_robotcar(root / "2014-06-26-08-53-56")
    again = open_robotcar(root, dates="2014-06-26-08-53-56", origin=both.world.origin.tolist())

    assert both.world.utm_zone == "30U"
    assert both.world.up == (0.0, 0.0, 1.0)
    assert both.world.origin.tolist() == [620100.0, 5736400.0, 100.0]
    assert alone.world.origin.tolist() == again.world.origin.tolist() == both.world.origin.tolist()
    np.testing.assert_array_equal(alone.positions(), both.positions()[IMAGE_COUNT:])
    np.testing.assert_array_equal(alone.positions(), again.positions())
    assert {image.sequence for image in both.images} == {"2014-06-23-15-36-04", "2014-06-26-08-53-56"}
    assert both.scenes == alone.scenes == ("town",)


def test_visual_odometry_gives_the_same_way_as_the_ins(tmp_path: Path) -> None:
    write_sdk(tmp_path)
    run = write_run(tmp_path, "circle", ride_in_a_circle)

    ins = open_robotcar(run)
    vo = open_robotcar(run, pose_source="vo")

    assert len(vo.images) == IMAGE_COUNT
    np.testing.assert_allclose(vo.positions(), ins.positions(), atol=1e-3)
    np.testing.assert_allclose(vo.orientations(), ins.orientations(), atol=1e-4)


def test_visual_odometry_goes_on_through_a_pause_but_no_image_in_it_is_used(root: Path) -> None:
    vo = root / "2014-06-26-08-53-56" / "vo" / "vo.csv"
    lines = vo.read_text().splitlines()
    vo.write_text("\n".join(lines[:8] + lines[11:]) + "\n")

    dataset = open_robotcar(root, pose_source="vo", origin=f"{EASTING},{NORTHING},{-DOWN}")

    assert dataset.dropped == {"in a gap of VO over 0.5 s": 2}
    assert len(dataset.images) == IMAGE_COUNT - 2
    last_s = FIRST_IMAGE_S + IMAGE_STEP_S * (IMAGE_COUNT - 1)
    np.testing.assert_allclose(dataset.positions()[-1], [SPEED * last_s + 1.7, 0.1, 1.2], atol=1e-3)


# Images


def test_images_are_debayered_and_travel_to_worker_processes(root: Path) -> None:
    image = pickle.loads(pickle.dumps(open_robotcar(root).images[3])).read()

    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.full((12, 16, 3), (200, 100, 50)))


def test_images_are_undistorted_with_the_sdks_table(tmp_path: Path) -> None:
    sdk = write_sdk(tmp_path)
    image = np.zeros((12, 16, 3), np.uint8)
    image[:, 8:] = 240
    run = write_run(tmp_path, "2014-06-26-08-53-56", image=image)
    rows, columns = np.meshgrid(np.arange(12.0), np.arange(16.0), indexing="ij")
    # Every pixel comes from 4 to the right of it and 2 below: columns of all pixels first, then rows.
    np.stack([columns + 4.0, rows + 2.0]).astype("<f8").tofile(
        sdk / "models" / "stereo_narrow_left_distortion_lut.bin"
    )

    undistorted = open_robotcar(run).images[0].read()
    raw = open_robotcar(run, undistort="false").images[0].read()

    np.testing.assert_array_equal(undistorted[:10, :12], raw[2:, 4:])
    assert not undistorted[10:].any() and not undistorted[:, 12:].any()
    assert raw[5, 3].max() == 0 and raw[5, 12].min() == 240


def test_a_distortion_table_of_another_size_is_an_error(root: Path) -> None:
    table = root / "sdk" / "models" / "stereo_narrow_left_distortion_lut.bin"
    table.write_text("version https://git-lfs.github.com/spec/v1")

    with pytest.raises(HyperPoseError, match=r"distortion_lut\.bin.*16x12.*undistort=false"):
        open_robotcar(root)


def test_images_that_have_colours_already_are_taken_as_they_are(root: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    stamp = image_stamps_us()[0]
    path = root / "2014-06-26-08-53-56" / "stereo" / "centre" / f"{stamp}.png"
    cv2.imwrite(str(path), picture[..., ::-1])

    np.testing.assert_array_equal(open_robotcar(root).images[0].read(), picture)


def test_a_file_that_is_no_image_is_named(root: Path) -> None:
    path = root / "2014-06-26-08-53-56" / "stereo" / "centre" / f"{image_stamps_us()[2]}.png"
    path.write_bytes(b"not an image")

    with pytest.raises(HyperPoseError, match=path.name):
        open_robotcar(root).images[2].read()


def test_missing_images_are_counted_and_logs_alone_can_be_opened(root: Path) -> None:
    centre = root / "2014-06-26-08-53-56" / "stereo" / "centre"
    (centre / f"{image_stamps_us()[4]}.png").unlink()
    (centre / f"{image_stamps_us()[9]}.png").unlink()
    assert open_robotcar(root).dropped == {"image file missing": 2}
    assert len(open_robotcar(root).images) == IMAGE_COUNT - 2

    for path in centre.iterdir():
        path.unlink()
    assert len(open_robotcar(root, require_images="false").images) == IMAGE_COUNT
    with pytest.raises(HyperPoseError, match="require_images=false"):
        open_robotcar(root)
