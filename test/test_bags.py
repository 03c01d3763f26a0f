"""Bags made from datasets: what is written can be read back, by us and by others, and mistakes are named."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import full_disk
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from hyperpose_core.datasets import PosedImageSet, open_dataset
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.images import decode_image
from hyperpose_ros.bags import dataset_to_bag
from hyperpose_ros.bags.reader import BagReader
from hyperpose_ros.common.conversions import image_to_rgb, pose_from_message, stamp_to_nanoseconds

IMAGE, COMPRESSED = "/camera/image_raw", "/camera/image_raw/compressed"
INFO, TRUTH = "/camera/camera_info", "/ground_truth/pose"


def convert(bag: Path, data: Path, *options: str) -> int:
    return dataset_to_bag.main([str(bag), "--data", str(data), *options])


def contents(bag: Path, topic: str) -> list[tuple[int, object]]:
    with BagReader(bag) as reader:
        return [(stamp, message) for _, stamp, message in reader.messages([topic])]


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.fixture
def dataset(seven_scenes_folder: Path) -> PosedImageSet:
    return open_dataset(seven_scenes_folder, split="test")


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_gives_back_what_the_adapter_gave(
    storage: str, tmp_path: Path, seven_scenes_folder: Path, dataset: PosedImageSet
) -> None:
    bag = tmp_path / "toyroom"
    assert convert(bag, seven_scenes_folder, "--split", "test", "--storage", storage, "--rate", "15") == 0
    images, truths = contents(bag, IMAGE), contents(bag, TRUTH)
    assert len(images) == len(truths) == len(dataset.images)
    for index, (record, (stamp, image), (truth_stamp, truth)) in enumerate(
        zip(dataset.images, images, truths, strict=True)
    ):
        assert stamp == truth_stamp == 1_000_000_000 + round(index * 1e9 / 15)
        assert stamp_to_nanoseconds(image.header.stamp) == stamp_to_nanoseconds(truth.header.stamp) == stamp
        assert (image.header.frame_id, truth.header.frame_id) == ("camera_optical_frame", "map")
        np.testing.assert_array_equal(image_to_rgb(image), record.read())
        pose = pose_from_message(truth.pose)
        np.testing.assert_allclose(pose.position, record.pose.position, rtol=0, atol=1e-9)
        np.testing.assert_allclose(pose.orientation, record.pose.orientation, rtol=0, atol=1e-9)


def test_other_programs_read_the_messages(
    tmp_path: Path, seven_scenes_folder: Path, dataset: PosedImageSet
) -> None:
    """The rosbags library decodes CDR by itself, from the message definitions that the bag carries."""
    bag = tmp_path / "toyroom"
    assert convert(bag, seven_scenes_folder, "--split", "test") == 0
    types = get_typestore(Stores.ROS2_KILTED)
    with Reader(bag) as reader:
        for connection in reader.connections:
            assert connection.digest == types.hash_rihs01(connection.msgtype)
        (connection,) = (item for item in reader.connections if item.topic == IMAGE)
        decoded = [
            types.deserialize_cdr(data, connection.msgtype) for _, _, data in reader.messages([connection])
        ]
    for record, image in zip(dataset.images, decoded, strict=True):
        assert (image.encoding, image.step) == ("rgb8", 3 * image.width)
        np.testing.assert_array_equal(image.data.reshape(image.height, image.width, 3), record.read())


@pytest.mark.skipif(shutil.which("ros2") is None, reason="no ros2 command line on this machine")
def test_ros2_bag_info_accepts_the_bag(tmp_path: Path, seven_scenes_folder: Path) -> None:
    bag = tmp_path / "toyroom"
    assert convert(bag, seven_scenes_folder) == 0
    shown = subprocess.run(["ros2", "bag", "info", str(bag)], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0
    assert IMAGE in shown.stdout


def test_stamps_are_the_datasets_own_unless_a_rate_is_given(
    tmp_path: Path, seven_scenes_folder: Path, dataset: PosedImageSet
) -> None:
    assert convert(tmp_path / "own", seven_scenes_folder, "--split", "test", "--start-time", "100") == 0
    own = [image.stamp_ns for image in dataset.images]
    stamps = [stamp for stamp, _ in contents(tmp_path / "own", TRUTH)]
    assert stamps == [100_000_000_000 + stamp - own[0] for stamp in own]


def test_compressed_files_go_in_byte_for_byte(
    tmp_path: Path, seven_scenes_folder: Path, dataset: PosedImageSet
) -> None:
    assert convert(tmp_path / "png", seven_scenes_folder, "--split", "test", "--compression", "png") == 0
    messages = [message for _, message in contents(tmp_path / "png", COMPRESSED)]
    assert [bytes(message.data) for message in messages] == [
        record.path.read_bytes() for record in dataset.images
    ]
    assert messages[0].format == "rgb8; png compressed bgr8"


def test_files_of_another_format_are_encoded(
    tmp_path: Path, seven_scenes_folder: Path, dataset: PosedImageSet
) -> None:
    bag = tmp_path / "jpeg"
    options = ("--split", "test", "--compression", "jpeg", "--jpeg-quality", "98")
    assert convert(bag, seven_scenes_folder, *options) == 0
    for record, (_, message) in zip(dataset.images, contents(bag, COMPRESSED), strict=True):
        decoded = decode_image(bytes(message.data), "the bag")
        assert np.abs(decoded.astype(int) - record.read()).mean() < 5
    with BagReader(bag) as reader:
        assert IMAGE not in reader.topics


def test_the_camera_goes_in_where_it_is_known(tmp_path: Path, seven_scenes_folder: Path) -> None:
    camera = ("--data-option", "camera=128,96,110,111,64.5,48.5")
    assert convert(tmp_path / "bag", seven_scenes_folder, "--split", "test", *camera) == 0
    infos, images = contents(tmp_path / "bag", INFO), contents(tmp_path / "bag", IMAGE)
    assert [stamp for stamp, _ in infos] == [stamp for stamp, _ in images]
    info = infos[0][1]
    assert (info.width, info.height, info.distortion_model) == (128, 96, "plumb_bob")
    np.testing.assert_array_equal(np.array(info.k).reshape(3, 3), [[110, 0, 64.5], [0, 111, 48.5], [0, 0, 1]])
    assert info.header == images[0][1].header


def test_names_can_be_chosen(tmp_path: Path, seven_scenes_folder: Path) -> None:
    names = ("--image-topic", "/front/image", "--pose-topic", "/truth", "--camera-frame", "front")
    assert convert(tmp_path / "bag", seven_scenes_folder, *names, "--map-frame", "room") == 0
    with BagReader(tmp_path / "bag") as reader:
        assert set(reader.topics) == {"/front/image", "/truth"}
    assert contents(tmp_path / "bag", "/front/image")[0][1].header.frame_id == "front"
    assert contents(tmp_path / "bag", "/truth")[0][1].header.frame_id == "room"


def test_a_bag_is_replaced_only_when_asked(
    tmp_path: Path, seven_scenes_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = tmp_path / "bag"
    assert convert(bag, seven_scenes_folder, "--split", "test") == 0
    assert convert(bag, seven_scenes_folder) == 2
    assert last_line(capsys).endswith(f"{bag}: exists already; choose another name or give --overwrite")
    assert len(contents(bag, IMAGE)) == 12
    assert convert(bag, seven_scenes_folder, "--overwrite") == 0
    assert len(contents(bag, IMAGE)) == 24


def test_a_folder_that_is_no_bag_is_never_replaced(
    tmp_path: Path, seven_scenes_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    assert convert(tmp_path / "precious", seven_scenes_folder, "--overwrite") == 2
    assert "is no bag, so it is not overwritten" in last_line(capsys)
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "years of work"


def test_a_failed_conversion_leaves_everything_as_it_was(
    tmp_path: Path, seven_scenes_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = tmp_path / "data" / "toyroom"
    shutil.copytree(seven_scenes_folder, scene)
    bag = tmp_path / "bag"
    assert convert(bag, scene) == 0
    broken = scene / "seq-02" / "frame-000011.color.png"
    broken.write_bytes(b"no image")
    assert convert(bag, scene, "--overwrite") == 2
    assert str(broken) in last_line(capsys)
    assert len(contents(bag, IMAGE)) == 24
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bag", "data"]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("room", [16, 30_000])
def test_a_full_disk_is_one_line_and_leaves_the_former_bag(
    storage: str, room: int, tmp_path: Path, seven_scenes_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = tmp_path / "bag"
    bag.mkdir()
    (bag / "metadata.yaml").write_text("precious")
    with full_disk(room):
        assert convert(bag, seven_scenes_folder, "--storage", storage, "--overwrite") == 2
    assert f"dataset_to_bag: error: {bag}: cannot write the bag: " in last_line(capsys)
    assert (bag / "metadata.yaml").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]


def test_images_of_one_stamp_are_an_error(
    tmp_path: Path, seven_scenes_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("attic", "cellar"):
        shutil.copytree(seven_scenes_folder, tmp_path / "house" / name)
    assert convert(tmp_path / "bag", tmp_path / "house") == 2
    assert "have the same stamp" in (line := last_line(capsys)) and "use --rate" in line
    assert convert(tmp_path / "bag", tmp_path / "house", "--rate", "5") == 0


@pytest.mark.slow
def test_a_bag_holds_one_image_at_a_time_in_memory(tmp_path: Path) -> None:
    """200 images of 1 MB each: a writer that keeps them all would need 200 MB more."""
    scene = tmp_path / "hall" / "seq-01"
    scene.mkdir(parents=True)
    encoded = cv2.imencode(".jpg", np.zeros((480, 720, 3), np.uint8))[1].tobytes()
    for frame in range(200):
        (scene / f"frame-{frame:06d}.color.jpg").write_bytes(encoded)
        np.savetxt(scene / f"frame-{frame:06d}.pose.txt", np.eye(4))
    peak = "import resource, sys\nfrom hyperpose_ros.bags.dataset_to_bag import main\n"
    peak += "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nassert main(sys.argv[1:]) == 0\n"
    peak += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    arguments = [str(tmp_path / "bag"), "--data", str(scene.parent)]
    done = subprocess.run(
        [sys.executable, "-c", peak, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout.split()[-1]) < 80_000


@pytest.fixture
def bag(tmp_path: Path, seven_scenes_folder: Path) -> Path:
    assert convert(tmp_path / "toyroom", seven_scenes_folder, "--split", "test") == 0
    return tmp_path / "toyroom"


def test_a_missing_topic_is_named_with_those_there_are(bag: Path) -> None:
    with BagReader(bag) as reader, pytest.raises(HyperPoseError) as error:
        list(reader.messages(["/camera/depth"]))
    assert str(error.value) == (
        f"{bag}: no topic /camera/depth; it has: /camera/image_raw (sensor_msgs/msg/Image), "
        "/ground_truth/pose (geometry_msgs/msg/PoseStamped)"
    )


def test_a_topic_of_another_type_is_named(bag: Path) -> None:
    with BagReader(bag) as reader, pytest.raises(HyperPoseError, match="is geometry_msgs/msg/PoseStamped"):
        reader.require(TRUTH, ["nav_msgs/msg/Odometry"])


def test_a_bag_can_be_read_in_part(bag: Path) -> None:
    with BagReader(bag) as reader:
        stamps = [message.stamp_ns for message in reader.raw_messages([TRUTH])]
        some = [message.stamp_ns for message in reader.raw_messages([TRUTH], stamps[3], stamps[6])]
        assert some == stamps[3:6]
        assert (reader.start_ns, reader.end_ns) == (stamps[0], stamps[-1])


def test_no_bag_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(HyperPoseError, match="no such bag"):
        BagReader(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(HyperPoseError, match="no rosbag2 bag: it has no metadata.yaml"):
        BagReader(tmp_path / "folder")


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.95])
def test_a_truncated_bag_is_one_clear_line(
    storage: str, kept: float, tmp_path: Path, seven_scenes_folder: Path
) -> None:
    bag = tmp_path / "toyroom"
    assert convert(bag, seven_scenes_folder, "--storage", storage) == 0
    (data,) = (path for path in bag.iterdir() if path.name != "metadata.yaml")
    data.write_bytes(data.read_bytes()[: int(kept * data.stat().st_size)])
    with pytest.raises(HyperPoseError) as error, BagReader(bag) as reader:
        list(reader.messages())
    assert str(error.value).startswith(f"{bag}: ")
    assert "\n" not in str(error.value)
