"""The rosbag2 adapter: ground truth from topics and TF, images on demand, damaged and odd recordings."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import draw_image
from dataset_layouts import PERIOD_NS, START_NS, BagContent, changed, shots, write_bag, write_seven_scenes
from rosbags.convert import convert
from rosbags.rosbag1 import Reader, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import Image

from hyperpose_core.datasets import open_dataset
from hyperpose_core.datasets.ros_images import RawImage
from hyperpose_core.errors import HyperPoseError
from hyperpose_ros.bags import dataset_to_bag
from hyperpose_ros.common.conversions import image_to_rgb
from hyperpose_ros.common.image_formats import ENCODINGS


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("truth", ["pose", "odometry", "tf"])
def test_every_kind_of_ground_truth_gives_the_cameras_pose(
    truth: str, compressed: bool, storage: str, tmp_path: Path
) -> None:
    """Odometry and TF say where base_link is; the camera sits on it, so `/tf_static` is needed."""
    frames = shots()
    content = BagContent(storage=storage, compressed=compressed, truth=truth)
    data = open_dataset(write_bag(tmp_path / "run", frames, content))
    assert len(data.images) == 10
    for frame, record in zip(frames, data.images, strict=True):
        np.testing.assert_allclose(record.pose.position, frame.position, atol=1e-9)
        np.testing.assert_allclose(record.pose.rotation(), frame.camera_to_world, atol=1e-9)
        np.testing.assert_array_equal(record.read(), draw_image(frame.index))
        assert record.stamp_ns == frame.stamp_ns
    assert data.world.up == (0.0, 0.0, 1.0)


def test_a_single_storage_file_is_a_bag(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "run", shots())
    (file,) = bag.glob("*.mcap")
    data = open_dataset(file)
    assert [image.scene for image in data.images] == ["run"] * 10
    np.testing.assert_array_equal(data.images[4].read(), draw_image(4))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("truth", ["pose", "odometry", "tf"])
def test_a_bag_of_ros_1_gives_the_same(truth: str, compressed: bool, tmp_path: Path) -> None:
    frames = shots()
    new = write_bag(tmp_path / "new", frames, BagContent(compressed=compressed, truth=truth))
    old = as_ros1(new, tmp_path / "run.bag")
    data, expected = open_dataset(old), open_dataset(new)
    assert data.camera == expected.camera is not None
    assert data.scenes == ("run",)
    for frame, record, other in zip(frames, data.images, expected.images, strict=True):
        assert record.stamp_ns == other.stamp_ns
        np.testing.assert_allclose(record.pose.matrix(), other.pose.matrix(), atol=1e-12)
        np.testing.assert_array_equal(record.read(), draw_image(frame.index))


def test_several_parts_of_a_ros_1_recording_are_read_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    for part in range(2):
        as_ros1(write_bag(tmp_path / f"new{part}", shots()), folder / f"run_{part}.bag")
    assert len(open_dataset(folder).images) == 20
    damaged = folder / "run_1.bag"
    damaged.write_bytes(damaged.read_bytes()[:-2000])
    with pytest.raises(HyperPoseError, match="run_1.bag: not a readable bag"):
        open_dataset(folder)


def test_transforms_of_before_tf2_are_read(tmp_path: Path) -> None:
    new = write_bag(tmp_path / "new", shots(), BagContent(truth="tf"))
    older, path = as_ros1(new, tmp_path / "noetic.bag"), tmp_path / "run.bag"
    with Reader(older) as reader, Writer(path) as writer:
        places = {}
        for connection in reader.connections:
            kind = connection.msgtype.replace("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
            definition, digest = connection.msgdef.data, connection.digest
            places[connection.topic] = writer.add_connection(
                connection.topic, kind, msgdef=definition, md5sum=digest
            )
        for connection, recorded_ns, data in reader.messages():
            writer.write(places[connection.topic], recorded_ns, data)
    data = open_dataset(path)
    assert len(data.images) == 10
    np.testing.assert_allclose(data.positions(), open_dataset(new).positions(), atol=1e-12)


def as_ros1(bag: Path, path: Path) -> Path:
    """Write a bag of ROS 2 as one of ROS 1."""
    store = get_typestore(Stores.ROS1_NOETIC)
    convert([bag], path, "sqlite3", 9, None, "", None, store, (), (), (), ())
    return path


def test_poses_are_interpolated_to_the_images(tmp_path: Path) -> None:
    """Ground truth at every second image: the others lie in the middle, in position and in angle."""
    stamps = [START_NS + index * PERIOD_NS for index in range(0, 11, 2)]
    data = open_dataset(write_bag(tmp_path / "run", shots(), BagContent(truth_stamps_ns=stamps)))
    assert len(data.images) == 10
    for frame, record in zip(shots(), data.images, strict=True):
        np.testing.assert_allclose(record.pose.position, frame.position, atol=1e-9)
        np.testing.assert_allclose(record.pose.rotation(), frame.camera_to_world, atol=1e-9)


def test_images_in_a_gap_or_outside_of_the_ground_truth_are_left_out_and_counted(tmp_path: Path) -> None:
    """Truth from 0.1 s to 0.2 s and from 0.8 s to 0.8 s: a gap of 0.6 s."""
    stamps = [START_NS + index * PERIOD_NS for index in (1, 2, 8)]
    bag = write_bag(tmp_path / "run", shots(), BagContent(truth_stamps_ns=stamps))
    data = open_dataset(bag)
    assert [round(2 * image.pose.position[0] - 2) for image in data.images] == [1, 2, 8]
    assert sorted(data.dropped.values()) == [2, 5]
    assert any("gap of the ground truth over 0.5 s" in cause for cause in data.dropped)
    assert any("outside the time" in cause for cause in data.dropped)
    assert not data.faults
    assert len(open_dataset(bag, max_gap="1.0").images) == 8


def test_stamps_that_come_twice_or_not_in_order_are_put_right_and_counted(tmp_path: Path) -> None:
    frames = changed(shots(), 6, stamp_ns=START_NS + 5 * PERIOD_NS)
    bag = write_bag(tmp_path / "run", frames, BagContent(order={2: 4, 4: 2}))
    data = open_dataset(bag)
    stamps = [image.stamp_ns for image in data.images]
    assert stamps == sorted(set(stamps))
    assert len(stamps) == 9
    for index in (2, 4, 5):
        np.testing.assert_array_equal(data.images[index].read(), draw_image(index))
    faults = " ".join(data.faults)
    assert "comes twice, the first image taken" in faults
    assert "ground truth: stamp that comes twice" in faults
    assert "images' stamps not in order" in faults
    assert sum(data.dropped.values()) == 1


def test_images_without_a_stamp_take_the_recording_time(tmp_path: Path) -> None:
    frames = changed(shots(), 5, stamp_ns=0)
    stamps = [START_NS + index * PERIOD_NS for index in range(11)]
    data = open_dataset(write_bag(tmp_path / "run", frames, BagContent(truth_stamps_ns=stamps)))
    assert data.images[5].stamp_ns == START_NS + 5 * PERIOD_NS + 5_000_000
    assert any("without time stamp" in fault for fault in data.faults)


def test_poses_that_are_not_finite_are_passed_over_and_counted(tmp_path: Path) -> None:
    frames = changed(shots(), 4, position=np.array([np.nan, 0.0, 0.0]))
    data = open_dataset(write_bag(tmp_path / "run", frames))
    np.testing.assert_allclose(data.positions()[:, 0], 1.0 + 0.5 * np.arange(10))
    ((fault, count),) = data.faults.items()
    assert "ground truth: pose not finite" in fault
    assert count == 1


def test_records_travel_to_other_processes_and_threads(tmp_path: Path) -> None:
    data = open_dataset(write_bag(tmp_path / "run", shots()))
    data.images[0].read()
    copies = pickle.loads(pickle.dumps(data.images))
    np.testing.assert_array_equal(copies[7].read(), draw_image(7))
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda record: record.read(), data.images * 3))
    for index, image in enumerate(read):
        np.testing.assert_array_equal(image, draw_image(index % 10))
    assert data.images[0].path.is_file()


def test_bags_of_one_world_are_sequences_and_whole_ones_are_for_testing(tmp_path: Path) -> None:
    for name in ("monday", "tuesday", "friday"):
        write_bag(tmp_path / "campus" / name, shots())
    data = open_dataset(tmp_path / "campus")
    assert data.scenes == ("campus",)
    assert {image.sequence for image in data.images} == {"monday", "tuesday", "friday"}
    test = open_dataset(tmp_path / "campus", split="test", test_sequences="friday")
    assert {image.sequence for image in test.images} == {"friday"}
    with pytest.raises(HyperPoseError, match="no sequence 'sunday'; there are: friday, monday, tuesday"):
        open_dataset(tmp_path / "campus", split="test", test_sequences="sunday")


def test_options_choose_among_topics_and_frames(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "run", shots(), BagContent(truth="odometry", extra_images=True))
    with pytest.raises(HyperPoseError, match="several topics would do: /camera/image_raw, /depth/image_raw"):
        open_dataset(bag)
    data = open_dataset(bag, image_topic="/camera/image_raw", start="0.2", end="0.5")
    assert len(data.images) == 4
    ahead = open_dataset(
        bag, image_topic="/camera/image_raw", extrinsics="1,0,0,-1.5707963267948966,0,-1.5707963267948966"
    )
    # One metre ahead of base_link, where `/tf_static` says 0.2 m ahead and 0.5 m up.
    moved = np.array([record.pose.position for record in ahead.images])
    expected = [frame.position + 0.8 * frame.forward + 0.5 * frame.down for frame in shots()]
    np.testing.assert_allclose(moved, expected, atol=1e-9)
    with pytest.raises(HyperPoseError, match="no messages on /nowhere; it has: .*/odom"):
        open_dataset(bag, image_topic="/nowhere")
    with pytest.raises(
        HyperPoseError, match="/odom is nav_msgs/msg/Odometry, expected sensor_msgs/msg/Image"
    ):
        open_dataset(bag, image_topic="/odom")
    with pytest.raises(HyperPoseError, match="of frame 'wheel'.*TF does not connect them.*base_link"):
        open_dataset(bag, image_topic="/camera/image_raw", pose_frame="wheel")


def test_a_bag_without_ground_truth_lists_what_it_has(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "run", shots(), BagContent(truth="none"))
    with pytest.raises(HyperPoseError, match="no pose topic.*topics: /camera/camera_info"):
        open_dataset(bag)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_images_recorded_at_one_time_are_told_apart(storage: str, tmp_path: Path) -> None:
    data = open_dataset(write_bag(tmp_path / "run", shots(), BagContent(storage=storage, pairs=True)))
    for index, record in enumerate(data.images):
        np.testing.assert_array_equal(record.read(), draw_image(index))


def test_a_world_frame_is_taken_from_tf(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "run", shots(), BagContent(truth="tf"))
    data = open_dataset(bag, world_frame="odom")
    expected = [frame.position - [10.0, 0.0, 0.0] for frame in shots()]
    np.testing.assert_allclose(data.positions(), expected, atol=1e-9)
    # Down the tree: where the robot sees the map's origin.
    seen = open_dataset(bag, world_frame="base_link", pose_frame="map", extrinsics="0,0,0,0,0,0").images[3]
    frame = shots()[3]
    base = frame.position - 0.2 * frame.forward + 0.5 * frame.down
    expected_seen = [frame.forward @ -base, -frame.right @ -base, -frame.down @ -base]
    np.testing.assert_allclose(seen.pose.position, expected_seen, atol=1e-9)
    with pytest.raises(HyperPoseError, match="TF does not connect 'mars'.*map, odom"):
        open_dataset(bag, world_frame="mars")


def test_a_far_world_is_kept_local(tmp_path: Path) -> None:
    data = open_dataset(write_bag(tmp_path / "run", shots()), origin="1,2,3")
    np.testing.assert_allclose(data.positions()[0], [0.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_array_equal(data.world.origin, [1.0, 2.0, 3.0])


def test_a_bag_that_breaks_off_is_one_line(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "run", shots(), BagContent(storage="sqlite3"))
    (file,) = bag.glob("*.db3")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(HyperPoseError, match="not a readable bag") as error:
        open_dataset(bag)
    assert "\n" not in str(error.value)


def test_distortion_that_is_no_plumb_bob_is_not_taken_for_it(tmp_path: Path) -> None:
    odd = BagContent(distortion=(0.1, 0.2, 0.0, 0.0, 0.3, 0.4, 0.5, 0.6))
    assert open_dataset(write_bag(tmp_path / "odd", shots(2), odd)).camera is None
    none = BagContent(distortion=(0.0,) * 5)
    camera = open_dataset(write_bag(tmp_path / "none", shots(2), none)).camera
    assert camera is not None
    assert camera.distortion == ()


def test_raw_images_read_as_the_node_reads_them() -> None:
    """Every encoding the node knows, with padded rows: training from a bag sees the robot's pixels."""
    generator = np.random.default_rng(0)
    for name, encoding in ENCODINGS.items():
        for big_endian in (False, True) if name == "mono16" else (False,):
            step = 24 * encoding.bytes_per_pixel + 8
            data = generator.integers(0, 256, encoding.expected_bytes(16, step), dtype=np.uint8)
            message = Image(height=16, width=24, encoding=name, step=step, is_bigendian=int(big_endian))
            message.data = data.tobytes()
            read = RawImage(24, 16, name, step, big_endian, data).to_rgb("here")
            np.testing.assert_array_equal(read, image_to_rgb(message), err_msg=name)


def test_raw_images_that_contradict_themselves_are_one_line() -> None:
    data = np.zeros(100, dtype=np.uint8)
    with pytest.raises(
        HyperPoseError, match="here: rgb8 image of 4x4 with a step of 12 has 100 bytes instead of 48"
    ):
        RawImage(4, 4, "rgb8", 12, False, data).to_rgb("here")
    with pytest.raises(HyperPoseError, match="encoding '32FC1' is unknown; known: .*rgb8"):
        RawImage(4, 4, "32FC1", 16, False, data).to_rgb("here")


def test_a_dataset_survives_the_way_into_a_bag_and_back(tmp_path: Path) -> None:
    scene = tmp_path / "toytown"
    scene.mkdir()
    write_seven_scenes(scene, shots())
    assert dataset_to_bag.main([str(tmp_path / "bag"), "--data", str(scene)]) == 0
    before, after = open_dataset(scene), open_dataset(tmp_path / "bag")
    np.testing.assert_allclose(after.positions(), before.positions(), atol=1e-12)
    np.testing.assert_allclose(after.orientations(), before.orientations(), atol=1e-12)
    for one, other in zip(before.images, after.images, strict=True):
        np.testing.assert_array_equal(other.read(), one.read())
