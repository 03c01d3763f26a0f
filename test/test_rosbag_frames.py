"""Which frame a bag's poses are in and of: maps before odometry, optical frames before bodies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_layouts import EXTRINSICS, BagContent, BagWriter, Shot, base_link, shots
from rosbags.typesys import Stores, get_typestore
from transforms3d.quaternions import mat2quat

from hyperpose_core.datasets import PosedImageSet, open_dataset
from hyperpose_core.errors import HyperPoseError

TYPES = get_typestore(Stores.ROS2_HUMBLE).types
OPTICAL = EXTRINSICS[1]
LEVEL = (1.0, 0.0, 0.0, 0.0)


def start_bag(folder: Path, static: Sequence[tuple[str, str, Any, Any]], stamp_ns: int) -> BagWriter:
    writer = BagWriter(folder, "mcap", TYPES)
    placed = [writer.transform(*placement, 0) for placement in static]
    writer.transforms(stamp_ns, *placed, topic="/tf_static")
    return writer


def write_odometry(folder: Path, frames: Sequence[Shot], with_map: bool) -> Path:
    """Write a run whose odometry begins at zero where the robot is switched on; TF may know the map."""
    writer = start_bag(folder, [("base_link", "camera_optical", *EXTRINSICS)], frames[0].stamp_ns)
    start, origin = base_link(frames[0])
    for frame in frames:
        base, position = base_link(frame)
        moved = start.T @ (position - origin), mat2quat(start.T @ base)
        writer.image(frame, frame.stamp_ns, BagContent())
        writer.odometry("odom", *moved, frame.stamp_ns, frame.stamp_ns)
        if with_map:
            writer.transforms(
                frame.stamp_ns,
                writer.transform("map", "odom", origin, mat2quat(start), frame.stamp_ns),
                writer.transform("odom", "base_link", *moved, frame.stamp_ns),
            )
    writer.close()
    return folder


def assert_right(data: PosedImageSet, frames: Sequence[Shot]) -> None:
    truth = {frame.stamp_ns: frame for frame in frames}
    assert len(data.images) == len(frames)
    for image in data.images:
        frame = truth[image.stamp_ns or 0]
        np.testing.assert_allclose(image.pose.position, frame.position, atol=1e-9)
        np.testing.assert_allclose(image.pose.rotation(), frame.camera_to_world, atol=1e-9)


def test_the_map_in_tf_goes_before_odometry(tmp_path: Path) -> None:
    """Two runs that begin elsewhere: in the map, the same place has one position."""
    runs = shots(6), shots(6, 20)
    for name, frames in zip(("one", "two"), runs, strict=True):
        write_odometry(tmp_path / "runs" / name, frames, with_map=True)
    data = open_dataset(tmp_path / "runs")
    assert "frame map" in data.world.description
    assert_right(data, [*runs[0], *runs[1]])


def test_several_recordings_in_odometry_are_refused(tmp_path: Path) -> None:
    for name, start in (("one", 0), ("two", 20)):
        write_odometry(tmp_path / "runs" / name, shots(6, start), with_map=False)
    with pytest.raises(HyperPoseError, match="2 bags are in frame 'odom' of odometry.*world_frame=map"):
        open_dataset(tmp_path / "runs")
    assert len(open_dataset(tmp_path / "runs", same_world="true").images) == 12
    alone = open_dataset(tmp_path / "runs" / "one")
    np.testing.assert_allclose(alone.images[0].pose.position, EXTRINSICS[0], atol=1e-9)


def test_an_odometry_world_that_is_asked_for_is_refused_alike(tmp_path: Path) -> None:
    for name, start in (("one", 0), ("two", 20)):
        write_odometry(tmp_path / "runs" / name, shots(6, start), with_map=True)
    for options in ({"world_frame": "odom"}, {"pose_topic": "/odom"}):
        with pytest.raises(HyperPoseError, match="begins anew with every recording"):
            open_dataset(tmp_path / "runs", **options)


def write_camera_link(folder: Path, frames: Sequence[Shot], optical: bool) -> Path:
    """Write images that are stamped with camera_link (x forward), with or without an optical frame in TF."""
    static: list[tuple[str, str, Any, Any]] = [("base_link", "camera_link", EXTRINSICS[0], LEVEL)]
    if optical:
        static.append(("camera_link", "camera_optical_frame", (0.0, 0.0, 0.0), OPTICAL))
    writer = start_bag(folder, static, frames[0].stamp_ns)
    for frame in frames:
        base, position = base_link(frame)
        writer.image(frame, frame.stamp_ns, BagContent(image_frame="camera_link"))
        placed = writer.transform("map", "base_link", position, mat2quat(base), frame.stamp_ns)
        writer.transforms(frame.stamp_ns, placed)
    writer.close()
    return folder


def test_images_stamped_with_a_body_frame_get_the_optical_frame_below_it(tmp_path: Path) -> None:
    data = open_dataset(write_camera_link(tmp_path / "run", shots(), optical=True))
    assert_right(data, shots())
    assert any("stamped with a body's frame" in fault for fault in data.faults)


def test_a_camera_that_would_look_at_the_sky_is_refused_with_what_mends_it(tmp_path: Path) -> None:
    bag = write_camera_link(tmp_path / "run", shots(), optical=False)
    with pytest.raises(HyperPoseError, match="look at the sky.*camera_axes=body"):
        open_dataset(bag)
    assert_right(open_dataset(bag, camera_axes="body"), shots())
    as_said = open_dataset(bag, camera_axes="optical").images[0].pose
    np.testing.assert_allclose(as_said.rotation(), base_link(shots()[0])[0], atol=1e-9)
    with pytest.raises(HyperPoseError, match="camera_axes is 'sideways'; give optical or body"):
        open_dataset(bag, camera_axes="sideways")


def test_a_pose_of_the_body_is_not_taken_for_the_cameras(tmp_path: Path) -> None:
    """A PoseStamped does not say of what it is; here it is base_link's, beside the camera's images."""
    frames = shots()
    writer = start_bag(tmp_path / "run", [("base_link", "camera_optical", *EXTRINSICS)], frames[0].stamp_ns)
    for frame in frames:
        base, position = base_link(frame)
        writer.image(frame, frame.stamp_ns, BagContent())
        writer.pose_stamped(position, mat2quat(base), frame.stamp_ns)
    writer.close()
    with pytest.raises(HyperPoseError, match="probably of a body.*pose_frame"):
        open_dataset(tmp_path / "run")
    assert_right(open_dataset(tmp_path / "run", pose_frame="base_link"), frames)


def write_namespaced(folder: Path, robots: dict[str, Sequence[Shot]]) -> Path:
    """Write the transforms of some robots, each on topics of its own; the camera is the first one's."""
    writer = BagWriter(folder, "mcap", TYPES)
    for number, (namespace, frames) in enumerate(robots.items()):
        placed = writer.transform("base_link", "camera_optical", *EXTRINSICS, 0)
        writer.transforms(frames[0].stamp_ns, placed, topic=f"{namespace}/tf_static")
        for frame in frames:
            base, position = base_link(frame)
            moved = writer.transform("map", "base_link", position, mat2quat(base), frame.stamp_ns)
            writer.transforms(frame.stamp_ns, moved, topic=f"{namespace}/tf")
            if number == 0:
                writer.image(frame, frame.stamp_ns, BagContent())
    writer.close()
    return folder


def test_transforms_of_a_robots_own_namespace_are_found_or_chosen(tmp_path: Path) -> None:
    frames, elsewhere = shots(6), [replace(frame, position=frame.position + 50.0) for frame in shots(6)]
    assert_right(open_dataset(write_namespaced(tmp_path / "one", {"/robot1": frames})), frames)
    both = write_namespaced(tmp_path / "two", {"/robot1": frames, "/robot2": elsewhere})
    assert_right(open_dataset(both, tf_topic="/robot1/tf"), frames)
    with pytest.raises(HyperPoseError, match="tf_topic.*topics: .*/robot1/tf .*/robot2/tf"):
        open_dataset(both)
    with pytest.raises(HyperPoseError, match="no messages on /robot3/tf; it has"):
        open_dataset(both, tf_topic="/robot3/tf")
