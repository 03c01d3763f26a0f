"""Adapters of phone applications, SLAM and photogrammetry on miniatures: conventions and damage."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import draw_image
from dataset_layouts import FOCAL, HEIGHT, WIDTH, Shot, shots
from transforms3d.axangles import mat2axangle
from transforms3d.quaternions import mat2quat

from hyperpose_core.datasets import dataset_format, open_dataset
from hyperpose_core.errors import HyperPoseError


def opengl(frame: Shot) -> np.ndarray:
    """Camera-to-world of a camera with y up and z back."""
    return np.stack([frame.right, -frame.down, -frame.forward], axis=1)


def write_tum(folder: Path, frames: list[Shot]) -> Path:
    rows, listing = ["# ground truth"], ["# color images"]
    for frame in frames:
        stamp = f"{frame.stamp_ns // 10**9}.{frame.stamp_ns % 10**9:09d}"
        w, x, y, z = mat2quat(frame.camera_to_world)
        rows.append(" ".join([stamp, *(repr(float(value)) for value in (*frame.position, x, y, z, w))]))
        listing.append(f"{stamp} rgb/{stamp}.png")
        frame.save(folder / "rgb" / f"{stamp}.png")
    (folder / "groundtruth.txt").write_text("\n".join(rows))
    (folder / "rgb.txt").write_text("\n".join(listing))
    return folder


def write_polycam(folder: Path, frames: list[Shot]) -> Path:
    (folder / "keyframes" / "cameras").mkdir(parents=True)
    for frame in frames:
        matrix = np.column_stack([opengl(frame), frame.position])
        content = {f"t_{row}{column}": matrix[row, column] for row in range(3) for column in range(4)}
        content |= {"fx": FOCAL, "fy": FOCAL, "cx": 64.0, "cy": 48.0, "width": WIDTH, "height": HEIGHT}
        content["blur_score"] = 100.0
        name = f"{frame.stamp_ns // 10**6}"
        (folder / "keyframes" / "cameras" / f"{name}.json").write_text(json.dumps(content))
        frame.save(folder / "keyframes" / "images" / f"{name}.png")
    return folder


def write_record3d(folder: Path, frames: list[Shot]) -> Path:
    poses = []
    path = folder.with_suffix(".r3d")
    with zipfile.ZipFile(path, "w") as archive:
        for number, frame in enumerate(frames):
            w, x, y, z = mat2quat(opengl(frame))
            poses.append([x, y, z, w, *frame.position])
            frame.save(folder / "image.png")
            # Named as Record3D does; PNG inside, so that pixels can be compared.
            archive.write(folder / "image.png", f"rgbd/{number}.jpg")
        k = [FOCAL, 0, 0, 0, FOCAL, 0, 64.0, 48.0, 1]
        archive.writestr("metadata", json.dumps({"poses": poses, "K": k, "w": WIDTH, "h": HEIGHT}))
    return path


def write_opensfm(folder: Path, frames: list[Shot]) -> Path:
    given = {}
    for frame in frames:
        rotation = frame.camera_to_world.T
        axis, angle = mat2axangle(rotation)
        given[f"{frame.index:03d}.png"] = {
            "rotation": (axis * angle).tolist(),
            "translation": (-rotation @ frame.position).tolist(),
            "camera": "phone",
        }
        frame.save(folder / "images" / f"{frame.index:03d}.png")
    camera = {"projection_type": "perspective", "width": WIDTH, "height": HEIGHT, "focal": FOCAL / WIDTH}
    whole = {"cameras": {"phone": camera}, "shots": given}
    part = {"cameras": {}, "shots": {}}
    (folder / "reconstruction.json").write_text(json.dumps([part, whole]))
    (folder / "reference_lla.json").write_text("{}")
    return folder


def row(*values: object) -> str:
    return ", ".join(repr(float(value)) if isinstance(value, float) else str(value) for value in values)


def write_kapture(folder: Path, frames: list[Shot]) -> Path:
    """Every second frame by the camera's own trajectory, the others by that of the rig that carries it."""
    sensors = folder / "sensors"
    sensors.mkdir(parents=True)
    # Camera from rig: the rig looks along the camera's x axis and sits 1 m to its right.
    turn = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    shift = np.array([1.0, 0.0, 0.0])
    records, trajectories = ["# kapture format: 1.1"], ["# kapture format: 1.1"]
    for frame in frames:
        rotation = frame.camera_to_world.T
        translation, device = -rotation @ frame.position, "cam0"
        if frame.index % 2:
            rotation, translation, device = turn.T @ rotation, turn.T @ (translation - shift), "rig0"
        numbers = (*mat2quat(rotation), *translation)
        trajectories.append(row(frame.index, device, *map(float, numbers)))
        records.append(row(frame.index, "cam0", f"{frame.index:03d}.png"))
        frame.save(sensors / "records_data" / f"{frame.index:03d}.png")
    camera = row("cam0", "front", "camera", "PINHOLE", WIDTH, HEIGHT, FOCAL, FOCAL, 64.0, 48.0)
    (sensors / "sensors.txt").write_text(f"{camera}\nimu0, imu, unknown\n")
    (sensors / "rigs.txt").write_text(row("rig0", "cam0", *map(float, (*mat2quat(turn), *shift))) + "\n")
    (sensors / "records_camera.txt").write_text("\n".join(records))
    (sensors / "trajectories.txt").write_text("\n".join(trajectories))
    return folder


def write_rtabmap(folder: Path, frames: list[Shot]) -> Path:
    rows = ["#timestamp x y z qx qy qz qw id"]
    calibration = (
        "%YAML:1.0\n---\ncamera_name: rtabmap\n"
        f"image_width: {WIDTH}\nimage_height: {HEIGHT}\ncamera_matrix:\n   rows: 3\n   cols: 3\n"
        f"   data: [ {FOCAL}, 0., 63.5, 0., {FOCAL}, 47.5, 0., 0., 1. ]\n"
        "distortion_model: plumb_bob\ndistortion_coefficients:\n   rows: 1\n   cols: 5\n"
        "   data: [ 0., 0., 0., 0., 0. ]\n"
    )
    (folder / "map_calib").mkdir(parents=True)
    for frame in frames:
        w, x, y, z = mat2quat(frame.camera_to_world)
        stamp, name = f"{frame.stamp_ns / 1e9:.6f}", str(frame.index + 1)
        rows.append(" ".join([stamp, *(repr(float(value)) for value in (*frame.position, x, y, z, w)), name]))
        frame.save(folder / "map_rgb" / f"{name}.png")
        (folder / "map_calib" / f"{name}.yaml").write_text(calibration)
    (folder / "map_camera_poses.txt").write_text("\n".join(rows))
    return folder


WRITERS: dict[str, Callable[[Path, list[Shot]], Path]] = {
    "tum": write_tum,
    "polycam": write_polycam,
    "record3d": write_record3d,
    "opensfm": write_opensfm,
    "kapture": write_kapture,
    "rtabmap": write_rtabmap,
}
DAMAGED = {
    "tum": "groundtruth.txt",
    "polycam": f"keyframes/cameras/{shots(1)[0].stamp_ns // 10**6}.json",
    "opensfm": "reconstruction.json",
    "kapture": "sensors/trajectories.txt",
    "rtabmap": "map_camera_poses.txt",
}


@pytest.mark.parametrize("layout", WRITERS)
def test_a_known_point_projects_to_where_it_must_be(layout: str, tmp_path: Path) -> None:
    """4 m ahead of a known camera, 1 m to its right and 0.5 m above it."""
    frames = shots()
    folder = tmp_path / "toytown"
    folder.mkdir()
    path = WRITERS[layout](folder, frames)
    assert dataset_format(path) == layout
    data = open_dataset(path)
    assert data.scenes == ("toytown",) and not data.dropped and not data.faults
    assert len(data.images) == len(frames)
    for frame, record in zip(frames, data.images, strict=True):
        np.testing.assert_allclose(record.pose.position, frame.position, atol=1e-9)
        point = frame.position + 4.0 * frame.forward + frame.right - 0.5 * frame.down
        seen = record.pose.inverse().transform(point)
        np.testing.assert_allclose(FOCAL * seen[:2] / seen[2], [25.0, -12.5], atol=1e-6)
        assert seen[2] == pytest.approx(4.0)
        np.testing.assert_array_equal(record.read(), draw_image(frame.index))
    test, train = open_dataset(path, split="test"), open_dataset(path, split="train")
    assert (len(test.images), len(train.images)) == (2, 8)


@pytest.mark.parametrize("layout", ["polycam", "record3d", "opensfm", "kapture", "rtabmap"])
def test_the_camera_comes_with_the_images(layout: str, tmp_path: Path) -> None:
    folder = tmp_path / "toytown"
    folder.mkdir()
    camera = open_dataset(WRITERS[layout](folder, shots(3))).camera
    assert camera is not None
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx((FOCAL, FOCAL, 63.5, 47.5))


@pytest.mark.parametrize("layout", DAMAGED)
def test_a_damaged_file_is_named(layout: str, tmp_path: Path) -> None:
    path = WRITERS[layout](tmp_path, shots(3))
    damaged = path / DAMAGED[layout]
    damaged.write_text(damaged.read_text()[:-40] + " oh no")
    with pytest.raises(HyperPoseError, match=damaged.name):
        open_dataset(path, format=layout)


def test_a_recording_that_is_no_zip_or_lacks_its_metadata_is_named(tmp_path: Path) -> None:
    path = tmp_path / "room.r3d"
    path.write_bytes(b"this is no zip")
    with pytest.raises(HyperPoseError, match="room.r3d: not a recording"):
        open_dataset(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rgbd/0.jpg", b"")
    with pytest.raises(HyperPoseError, match="room.r3d: not a recording"):
        open_dataset(path)


def test_images_without_a_listing_are_found_by_their_stamps_and_poses_interpolated(tmp_path: Path) -> None:
    folder = write_tum(tmp_path, shots())
    (folder / "rgb.txt").unlink()
    lines = (folder / "groundtruth.txt").read_text().splitlines()
    (folder / "groundtruth.txt").write_text("\n".join([*lines[:4], *lines[5:]]))
    assert len(open_dataset(folder).images) == 9
    data = open_dataset(folder, max_gap="0.3")
    assert len(data.images) == 10
    np.testing.assert_allclose(data.images[3].pose.position, shots()[3].position, atol=1e-6)


def test_an_opensfm_project_without_a_reference_has_no_metres(tmp_path: Path) -> None:
    folder = write_opensfm(tmp_path, shots(3))
    assert open_dataset(folder).world.is_metric
    (folder / "reference_lla.json").unlink()
    assert not open_dataset(folder).world.is_metric


def test_a_trajectory_that_lost_track_costs_the_frames_in_its_gap(tmp_path: Path) -> None:
    folder = write_tum(tmp_path, shots(10))
    file = folder / "groundtruth.txt"
    rows = file.read_text().splitlines()
    rows[5] = rows[5].split()[0] + " nan nan nan nan nan nan nan"
    rows[6] = rows[6].split()[0] + " -1.#IND 0 0 0 0 0 1"
    file.write_text("\n".join(rows))
    data = open_dataset(folder, max_gap=0.2)
    assert len(data.images) == 8
    assert sum(data.faults.values()) == 2 and "not finite" in next(iter(data.faults))
    rows[6] = rows[6].split()[0] + " here 0 0 0 0 0 1"
    file.write_text("\n".join(rows))
    with pytest.raises(HyperPoseError, match="groundtruth.txt:7: .*here"):
        open_dataset(folder)


def test_an_export_without_the_cameras_poses_says_how_to_export_them(tmp_path: Path) -> None:
    folder = write_rtabmap(tmp_path, shots(3))
    (folder / "map_camera_poses.txt").rename(folder / "map_poses.txt")
    with pytest.raises(HyperPoseError, match="only the robot's poses are there; export with --poses_camera"):
        open_dataset(folder)


def test_images_of_kapture_without_a_pose_are_counted(tmp_path: Path) -> None:
    folder = write_kapture(tmp_path, shots())
    trajectories = folder / "sensors" / "trajectories.txt"
    trajectories.write_text("\n".join(trajectories.read_text().splitlines()[:-2]))
    data = open_dataset(folder)
    assert len(data.images) == 8 and data.dropped == {"no pose in the trajectories (first: 008.png)": 2}
