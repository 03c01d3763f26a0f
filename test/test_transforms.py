"""Which transform goes out, its arithmetic, what is heard of others, and the parameters that say so."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")

from hyperpose_core.errors import HyperPoseError  # noqa: E402
from hyperpose_core.geometry.poses import Pose, rotation_vector_to_quaternion  # noqa: E402
from hyperpose_ros.common.conversions import pose_from_numbers, transform_to_message  # noqa: E402
from hyperpose_ros.common.fix import Fix, PoseWithCovariance, View  # noqa: E402
from hyperpose_ros.fusion.pose_fusion import body_from_camera  # noqa: E402
from hyperpose_ros.parameters.localizer import LocalizerParameters  # noqa: E402
from hyperpose_ros.tf.plan import FramePlan, Placement  # noqa: E402
from hyperpose_ros.tf.policy import Missing, TransformPolicy  # noqa: E402
from hyperpose_ros.tf.pose_buffer import PoseBuffer  # noqa: E402
from hyperpose_ros.tf.tree import MOST_FRAMES, SILENCE_NS, FrameTree  # noqa: E402

SECOND = 1_000_000_000
LOOKING_AHEAD = (0.4, 0.1, 1.2, -0.5, 0.5, -0.5, 0.5)
"""A camera 0.4 m before, 0.1 m to the left of and 1.2 m above base_link."""
ON_ROBOT = pose_from_numbers(LOOKING_AHEAD)
SOMEWHERE = Pose(np.array([1.0, 2.0, 3.0]), rotation_vector_to_quaternion([0.1, 0.2, 0.3]))


class KnownOdometry:
    """A buffer of odometry that holds what a test put in."""

    problem = ""

    def __init__(self, poses: dict[int, Pose]) -> None:
        self._buffer = PoseBuffer()
        for stamp_ns, pose in poses.items():
            self._buffer.add(stamp_ns, pose)

    def pose_at(self, stamp_ns: int) -> Pose | None:
        return self._buffer.at(stamp_ns)

    def destroy(self) -> None:
        pass


def policy(
    extrinsics: tuple[Pose | None, ...] = (None,),
    tree: FrameTree | None = None,
    odometry: KnownOdometry | None = None,
    **values: object,
) -> TransformPolicy:
    parameters = LocalizerParameters(**values)  # type: ignore[arg-type]
    plan = FramePlan(parameters, extrinsics, tree or FrameTree())
    return TransformPolicy(parameters, plan, odometry)


def fix_of(camera: Pose, policy: TransformPolicy, frame: str = "camera", stamp_ns: int = 0) -> Fix:
    """A fix from one camera in the map, as the localizer makes it."""
    in_map = PoseWithCovariance(camera, np.eye(6))
    extrinsics = policy.plan.extrinsics_of(0, frame)
    base = None if extrinsics is None else body_from_camera(in_map, extrinsics)
    return Fix(stamp_ns, (View(0, frame, in_map, camera),), base, in_map)


def placed(policy: TransformPolicy, fix: Fix) -> Placement:
    placement = policy.placement(fix)
    assert isinstance(placement, Placement), placement
    return placement


def camera_of_robot_at_10_20() -> tuple[Pose, Pose]:
    """A robot at (10, 20, 0) that faces along the map's y axis, and its camera, both in the map."""
    robot = Pose(np.array([10.0, 20.0, 0.0]), rotation_vector_to_quaternion([0.0, 0.0, np.pi / 2]))
    matrix = np.eye(4)
    matrix[:3, :3] = np.column_stack([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])  # right, down, forward
    matrix[:3, 3] = [10.0 - 0.1, 20.0 + 0.4, 1.2]
    return robot, Pose.from_matrix(matrix)


def assert_same(pose: Pose, expected: Pose) -> None:
    np.testing.assert_allclose(pose.matrix(), expected.matrix(), atol=1e-9)


def test_with_extrinsics_the_robot_is_placed_and_not_the_camera() -> None:
    robot, camera = camera_of_robot_at_10_20()
    frames = policy((ON_ROBOT,))
    placement = placed(frames, fix_of(camera, frames))
    assert (placement.parent, placement.child) == ("map", "base_link")
    assert_same(placement.pose, robot)


def test_map_to_odom_to_base_is_the_robot_at_the_images_stamp() -> None:
    robot, camera = camera_of_robot_at_10_20()
    # Odometry began elsewhere, and drives and turns on: at the image's stamp it is at a quarter of the way.
    before = Pose([3.0, -1.0, 0.0], rotation_vector_to_quaternion([0.0, 0.0, 0.2]))
    after = Pose([3.4, -0.6, 0.0], rotation_vector_to_quaternion([0.0, 0.0, 0.6]))
    at_image = Pose([3.1, -0.9, 0.0], rotation_vector_to_quaternion([0.0, 0.0, 0.3]))
    odometry = KnownOdometry({10 * SECOND: before, 10 * SECOND + 400_000_000: after})
    frames = policy((ON_ROBOT,), odometry=odometry, tf_mode="map_odom", odometry_source="topic")
    placement = placed(frames, fix_of(camera, frames, stamp_ns=10 * SECOND + 100_000_000))
    assert (placement.parent, placement.child) == ("map", "odom")
    assert_same(placement.pose @ at_image, robot)
    assert np.linalg.norm((placement.pose @ after).position - robot.position) > 0.3


def test_without_odometry_at_the_stamp_there_is_no_transform_and_a_reason() -> None:
    frames = policy((ON_ROBOT,), odometry=KnownOdometry({}), tf_mode="map_odom", odometry_source="topic")
    answer = frames.placement(fix_of(SOMEWHERE, frames))
    assert isinstance(answer, Missing) and answer.cause == "no_odometry"
    assert "odom -> base_link is not known at the image's stamp" in answer.text


def test_without_extrinsics_the_camera_is_placed() -> None:
    frames = policy(map_frame="world")
    placement = placed(frames, fix_of(SOMEWHERE, frames, "camera_optical_frame"))
    assert (placement.parent, placement.child) == ("world", "camera_optical_frame")
    assert_same(placement.pose, SOMEWHERE)


@pytest.mark.parametrize("frame", ["", "map"])
def test_an_image_whose_frame_cannot_be_a_child_gets_no_transform(frame: str) -> None:
    frames = policy()
    answer = frames.placement(fix_of(SOMEWHERE, frames, frame))
    assert isinstance(answer, Missing) and answer.cause == "no_image_frame"


def test_the_mode_overrules_the_extrinsics() -> None:
    nothing = policy((ON_ROBOT,), tf_mode="none")
    assert nothing.placement(fix_of(SOMEWHERE, nothing)) is None
    camera = policy((ON_ROBOT,), tf_mode="map_camera")
    assert placed(camera, fix_of(SOMEWHERE, camera)).child == "camera"


def hear(tree: FrameTree, parent: str, child: str, pose: Pose, is_static: bool, stamp_ns: int = 0) -> None:
    tree.hear([transform_to_message(parent, child, pose, stamp_ns)], is_static)


def test_extrinsics_are_composed_from_tf_and_auto_then_places_the_robot_for_good() -> None:
    robot, camera = camera_of_robot_at_10_20()
    tree = FrameTree()
    frames = policy(tree=tree)
    assert placed(frames, fix_of(camera, frames, "eye")).child == "eye"
    mast = Pose([0.4, 0.1, 1.0], rotation_vector_to_quaternion([0.0, 0.3, 0.0]))
    hear(tree, "base_link", "mast", mast, is_static=False)
    hear(tree, "mast", "eye", mast.inverse() @ ON_ROBOT, is_static=True)
    placement = placed(frames, fix_of(camera, frames, "eye"))
    assert (placement.parent, placement.child) == ("map", "base_link")
    assert_same(placement.pose, robot)
    answer = frames.placement(fix_of(camera, frames, "another_eye"))
    assert isinstance(answer, Missing) and answer.cause == "no_extrinsics"


def test_a_frame_that_is_placed_beside_the_robot_is_no_part_of_it() -> None:
    tree = FrameTree()
    hear(tree, "odom", "base_link", SOMEWHERE, is_static=False)
    hear(tree, "odom", "eye", SOMEWHERE, is_static=False)
    assert tree.pose_on_body("base_link", "eye") is None
    hear(tree, "chassis", "base_link", SOMEWHERE, is_static=True)
    hear(tree, "chassis", "eye", SOMEWHERE @ ON_ROBOT, is_static=True)
    found = tree.pose_on_body("base_link", "eye")
    assert found is not None
    assert_same(found, ON_ROBOT)


def test_other_parents_are_told_from_what_was_sent_and_forgotten_when_silent() -> None:
    now_ns = 0
    tree = FrameTree(lambda: now_ns)
    own = transform_to_message("map", "base_link", SOMEWHERE, 5 * SECOND)
    tree.remember_own(own)
    tree.hear([own], is_static=False)
    assert tree.placed_by_others("base_link") is None
    # The same frames and stamp with other numbers are somebody else's.
    hear(tree, "map", "base_link", ON_ROBOT, is_static=False, stamp_ns=5 * SECOND)
    other = tree.placed_by_others("base_link")
    assert other is not None and other.parent == "map"
    now_ns = SILENCE_NS + 1
    assert tree.placed_by_others("base_link") is None
    hear(tree, "/odom", "/base_link", ON_ROBOT, is_static=True)
    now_ns *= 1000
    other = tree.placed_by_others("base_link")
    assert other is not None and other.parent == "odom" and other.is_static


@pytest.mark.parametrize("distance", [1e300, -1e12, 2000.0])
def test_a_transform_that_puts_the_camera_far_from_the_robot_is_left_out_and_told(distance: float) -> None:
    told: list[str] = []
    tree = FrameTree(warn=lambda cause, text: told.append(text))
    hear(tree, "base_link", "eye", Pose([0.0, distance, 0.0], [1.0, 0.0, 0.0, 0.0]), is_static=True)
    assert tree.pose_on_body("base_link", "eye") is None
    assert len(told) == 1 and "eye" in told[0] and "left out" in told[0]
    hear(tree, "base_link", "eye", ON_ROBOT, is_static=True)
    found = tree.pose_on_body("base_link", "eye")
    assert found is not None
    assert_same(found, ON_ROBOT)


def test_frames_without_end_are_forgotten_and_those_that_go_on_are_not() -> None:
    told: list[str] = []
    tree = FrameTree(warn=lambda cause, text: told.append(text))
    hear(tree, "mast", "eye", ON_ROBOT, is_static=True)
    for number in range(3 * MOST_FRAMES):
        if number % 1000 == 0:
            hear(tree, "base_link", "mast", SOMEWHERE, is_static=False)
        # One chain, which must not be walked to its end for every image either.
        hear(tree, f"frame {number}", f"frame {number + 1}", SOMEWHERE, is_static=False)
    assert tree.placed_by_others("frame 1") is None and tree.placed_by_others(f"frame {number}") is not None
    found = tree.pose_on_body("base_link", "eye")
    assert found is not None
    assert_same(found, SOMEWHERE @ ON_ROBOT)
    for number in range(MOST_FRAMES + 10):
        hear(tree, "base_link", f"fixed {number}", SOMEWHERE, is_static=True)
    assert len(told) == 11 and "left out" in told[0]
    assert tree.pose_on_body("base_link", "eye") is not None


def test_world_to_map_moves_poses_and_turns_covariances() -> None:
    # The map's x is the world's y: a robot 2 m along the world's x, unsure of x, is unsure of the map's y.
    frames = policy(world_to_map=(100.0, 0.0, 0.0, 0.0, 0.0, np.pi / 2))
    covariance = np.diag([4.0, 1.0, 1.0, 0.04, 0.01, 0.01])
    covariance[0, 5] = covariance[5, 0] = 0.1
    in_map = frames.plan.to_map(Pose([2.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]), covariance)
    np.testing.assert_allclose(in_map.pose.position, [100.0, 2.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(in_map.pose.orientation, [np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)], atol=1e-12)
    np.testing.assert_allclose(np.diag(in_map.covariance), [1.0, 4.0, 1.0, 0.01, 0.04, 0.01], atol=1e-12)
    assert in_map.covariance[1, 5] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("values", "cameras", "reason"),
    [
        ({"tf_mode": "map_odom"}, 1, "needs odometry: set odometry_source"),
        ({"map_frame": "base_link"}, 1, "map_frame 'base_link', base_frame 'base_link'"),
        ({"map_frame": ""}, 1, "map_frame ''"),
        ({"tf_mode": "map_odom", "odometry_source": "topic", "odom_frame": "/map"}, 1, "odom_frame 'map'"),
        ({"world_to_map": (0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0)}, 1, "world_to_map: .*norm 1.41"),
        ({"tf_mode": "map_camera"}, 2, "for one camera"),
        ({"pose_of": "camera"}, 2, "for one camera"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(
    values: dict[str, object], cameras: int, reason: str
) -> None:
    with pytest.raises(HyperPoseError, match=reason):
        policy((None,) * cameras, **values)
