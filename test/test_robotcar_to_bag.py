"""A RobotCar run as a bag: what a reader gets out is what the adapter gave, in frames that fit together."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from robotcar_layout import (
    LATITUDE,
    LONGITUDE,
    base_link_poses,
    image_stamps_us,
    ins_lines,
    ride_in_a_circle,
    write_ins,
    write_run,
    write_sdk,
)

from hyperpose_core.datasets.robotcar_runs import RobotCarRun, load_run
from hyperpose_core.geometry.poses import Pose, orientation_errors_deg
from hyperpose_core.images import decode_image
from hyperpose_ros.bags import robotcar_to_bag
from hyperpose_ros.bags.reader import BagReader
from hyperpose_ros.common.conversions import (
    image_to_rgb,
    pose_from_message,
    stamp_to_nanoseconds,
    transform_from_message,
)

DATE = "2014-06-26-08-53-56"
Contents = dict[str, list[tuple[int, Any]]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with one run in a circle, every pixel of its images of another brightness."""
    folder = tmp_path_factory.mktemp("robotcar") / "town"
    write_sdk(folder)
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    write_run(folder, DATE, ride_in_a_circle, noise)
    return folder


@pytest.fixture(scope="module")
def run(root: Path) -> RobotCarRun:
    return load_run(root, DATE)


@pytest.fixture(scope="module")
def bag(root: Path) -> Path:
    path = root.parent / "bag"
    assert robotcar_to_bag.main([str(path), "--data", str(root)]) == 0
    return path


def read(bag: Path) -> Contents:
    contents: Contents = defaultdict(list)
    with BagReader(bag) as reader:
        for topic, stamp_ns, message in reader.messages():
            contents[topic].append((stamp_ns, message))
    return contents


@pytest.fixture(scope="module")
def contents(bag: Path) -> Contents:
    return read(bag)


def assert_close(actual: Pose, expected: Pose, tolerance: float) -> None:
    np.testing.assert_allclose(actual.position, expected.position, rtol=0, atol=tolerance)
    np.testing.assert_allclose(actual.orientation, expected.orientation, rtol=0, atol=tolerance)


def test_images_and_true_poses_come_back_as_they_were(contents: Contents, run: RobotCarRun) -> None:
    images, truths = contents["/camera/image_raw"], contents["/ground_truth/pose"]
    own = [1000 * stamp for stamp in image_stamps_us()]
    assert [stamp for stamp, _ in images] == [stamp for stamp, _ in truths] == own == run.stamps_ns.tolist()
    for index, ((stamp, image), (_, truth)) in enumerate(zip(images, truths, strict=True)):
        assert stamp_to_nanoseconds(image.header.stamp) == stamp_to_nanoseconds(truth.header.stamp) == stamp
        np.testing.assert_array_equal(image_to_rgb(image), run.reader(run.image_paths[index]))
        assert_close(pose_from_message(truth.pose), run.camera_poses[index], 1e-9)
        assert (image.header.frame_id, truth.header.frame_id) == ("camera_optical_frame", "map")


def test_compressed_images_are_lossless_as_png(root: Path, run: RobotCarRun, tmp_path: Path) -> None:
    options = ["--compression", "png", "--storage", "sqlite3", "--start", "1", "--end", "2"]
    assert robotcar_to_bag.main([str(tmp_path / "bag"), "--data", str(root), *options]) == 0
    images = read(tmp_path / "bag")["/camera/image_raw/compressed"]
    assert [stamp for stamp, _ in images] == run.stamps_ns[4:9].tolist()
    for (_, image), path in zip(images, run.image_paths[4:9], strict=True):
        np.testing.assert_array_equal(decode_image(bytes(image.data), "the bag"), run.reader(path))


def test_the_camera_info_is_the_sdks_model(contents: Contents, run: RobotCarRun) -> None:
    infos = [info for _, info in contents["/camera/camera_info"]]
    assert len(infos) == len(run.stamps_ns)
    assert (infos[0].width, infos[0].height) == (16, 12)
    np.testing.assert_array_equal(
        np.array(infos[0].k).reshape(3, 3), [[12.0, 0, 8.5], [0, 12.0, 6.5], [0, 0, 1]]
    )


def test_every_frame_has_one_parent_when_the_localizer_runs(contents: Contents) -> None:
    transforms = [item for _, message in contents["/tf_static"] for item in message.transforms]
    parents = [(item.child_frame_id, item.header.frame_id) for item in transforms] + [("base_link", "map")]
    assert len({child for child, _ in parents}) == len(parents)
    tree = dict(parents)
    frames = {
        message.header.frame_id
        for topic, items in contents.items()
        for _, message in items[:1]
        if topic not in ("/tf_static", "/vo/odometry")
    }
    for frame in frames | set(tree):
        while frame != "map":
            frame = tree[frame]
    assert "/tf" not in contents


def test_base_link_looks_ahead_with_z_up(contents: Contents) -> None:
    transforms = {item.child_frame_id: item for item in contents["/tf_static"][0][1].transforms}
    camera = transform_from_message(transforms["camera_optical_frame"]).rotation()
    np.testing.assert_allclose(camera @ [0, 0, 1], [1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(camera @ [0, 1, 0], [0, 0, -1], atol=1e-9)
    ins = transform_from_message(transforms["ins"])
    np.testing.assert_allclose(ins.position, [-1.7, -0.1, -1.2], atol=1e-9)


def test_true_poses_extrinsics_and_ins_odometry_agree(contents: Contents) -> None:
    transforms = {item.child_frame_id: item for item in contents["/tf_static"][0][1].transforms}
    base_from_camera = transform_from_message(transforms["camera_optical_frame"])
    truths = {stamp: pose_from_message(message.pose) for stamp, message in contents["/ground_truth/pose"]}
    rows = {stamp: message for stamp, message in contents["/ins/odometry"]}
    common = set(truths) & set(rows)
    assert len(common) == 10
    for stamp in common:
        assert (rows[stamp].header.frame_id, rows[stamp].child_frame_id) == ("map", "base_link")
        base = pose_from_message(rows[stamp].pose.pose)
        assert_close(base @ base_from_camera, truths[stamp], 1e-6)


def twist_of(message: Any) -> np.ndarray:
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    return np.array([linear.x, linear.y, linear.z, angular.x, angular.y, angular.z])


@pytest.mark.parametrize(("topic", "tolerance"), [("/ins/odometry", 0.03), ("/vo/odometry", 0.35)])
def test_twists_are_those_of_base_link_in_itself(topic: str, tolerance: float, contents: Contents) -> None:
    """The circle's radius is 20 m and its speed 5 m/s, at the INS; to the right, which is negative."""
    messages = [message for _, message in contents[topic]][2:-2]
    for earlier, later in zip(messages, messages[1:], strict=False):
        seconds = (
            stamp_to_nanoseconds(later.header.stamp) - stamp_to_nanoseconds(earlier.header.stamp)
        ) / 1e9
        step = pose_from_message(earlier.pose.pose).inverse() @ pose_from_message(later.pose.pose)
        np.testing.assert_allclose(twist_of(later)[:3], step.position / seconds, atol=tolerance)
        assert twist_of(later)[0] == pytest.approx(5.0, abs=0.1)
        assert twist_of(later)[5] == pytest.approx(-0.25, abs=0.02)


def test_visual_odometry_moves_as_base_link_does(contents: Contents, run: RobotCarRun) -> None:
    visual = {stamp: pose_from_message(message.pose.pose) for stamp, message in contents["/vo/odometry"]}
    true = dict(zip(run.stamps_ns.tolist(), base_link_poses(run), strict=True))
    first, *_, last = sorted(set(visual) & set(true))
    moved, truly_moved = visual[first].inverse() @ visual[last], true[first].inverse() @ true[last]
    assert np.linalg.norm(truly_moved.position) > 15
    np.testing.assert_allclose(moved.position, truly_moved.position, atol=0.02)
    assert orientation_errors_deg(moved.orientation, truly_moved.orientation) < 0.1
    message = contents["/vo/odometry"][0][1]
    assert (message.header.frame_id, message.child_frame_id) == ("odom", "base_link")


@pytest.mark.parametrize("topic", ["/ins/odometry", "/vo/odometry"])
def test_no_covariance_claims_perfection(topic: str, contents: Contents) -> None:
    messages = [message for _, message in contents[topic]]
    assert messages
    for message in messages:
        for covariance in (message.pose.covariance, message.twist.covariance):
            assert np.linalg.eigvalsh(np.array(covariance).reshape(6, 6)).min() > 0
    growth = np.trace(np.array(messages[-1].pose.covariance).reshape(6, 6)) - np.trace(
        np.array(messages[0].pose.covariance).reshape(6, 6)
    )
    assert growth > 0 if topic == "/vo/odometry" else growth == 0


def test_gps_fixes_are_above_the_ellipsoid(contents: Contents) -> None:
    """The log's altitude is 65.5 m above the sea, the INS's 110 m above the ellipsoid at the same place."""
    (_, fix), *_ = contents["/gps/fix"]
    assert (fix.latitude, fix.longitude, fix.altitude) == pytest.approx((LATITUDE, LONGITUDE, 110.0))
    east, north, up = np.diag(np.array(fix.position_covariance).reshape(3, 3))
    assert (east, north, up) == pytest.approx((1.5**2, 2.5**2, 6.0**2))
    assert fix.position_covariance_type == fix.COVARIANCE_TYPE_DIAGONAL_KNOWN


def test_bad_ins_rows_are_not_in_the_odometry(tmp_path: Path) -> None:
    write_sdk(tmp_path)
    folder = write_run(tmp_path, DATE, ride_in_a_circle)
    lines = ins_lines(ride_in_a_circle)
    lines[100:103] = [line.replace("INS_SOLUTION_GOOD", "INS_BAD_GPS_AGREEMENT") for line in lines[100:103]]
    write_ins(folder, lines)
    assert robotcar_to_bag.main([str(tmp_path / "bag"), "--data", str(tmp_path)]) == 0
    stamps = {stamp for stamp, _ in read(tmp_path / "bag")["/ins/odometry"]}
    bad = [1000 * int(line.split(",")[0]) for line in lines[100:103]]
    assert stamps and not stamps & set(bad)


def test_a_run_without_vo_and_gps_makes_a_bag_without_them(tmp_path: Path) -> None:
    write_sdk(tmp_path)
    folder = write_run(tmp_path, DATE)
    (folder / "vo" / "vo.csv").unlink()
    (folder / "gps" / "gps.csv").unlink()
    assert robotcar_to_bag.main([str(tmp_path / "bag"), "--data", str(tmp_path)]) == 0
    with BagReader(tmp_path / "bag") as reader:
        assert not {"/vo/odometry", "/gps/fix"} & set(reader.topics)


def test_the_map_can_be_put_where_it_is_wanted(root: Path, run: RobotCarRun, tmp_path: Path) -> None:
    origin = run.world.origin + [10.0, -20.0, 1.0]
    options = ["--data", str(root), "--origin", *(str(value) for value in origin)]
    assert robotcar_to_bag.main([str(tmp_path / "bag"), *options]) == 0
    (_, truth), *_ = read(tmp_path / "bag")["/ground_truth/pose"]
    moved = pose_from_message(truth.pose).position - run.camera_poses[0].position
    np.testing.assert_allclose(moved, [-10.0, 20.0, -1.0], atol=1e-6)


def test_mistakes_are_one_line_each(
    root: Path, tmp_path: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def complaint(*options: str) -> str:
        capsys.readouterr()
        assert robotcar_to_bag.main([str(tmp_path / "bag"), *options]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line.removeprefix("robotcar_to_bag: error: ")

    assert "no such run" in complaint("--data", str(root), "--run", "2099-01-01")
    assert complaint("--data", str(tmp_path)) == (
        f"{tmp_path}: name one of its runs with --run; runs found: none"
    )
    assert complaint("--data", str(root), "--checkpoint", str(tiny_checkpoint)) == (
        f"{tiny_checkpoint}: was not trained in a UTM world, so it gives no origin"
    )
    assert not (tmp_path / "bag").exists()
