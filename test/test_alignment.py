"""`hyperpose align`: where the trained world lies in a robot's map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from hyperpose_core.cli.main import main
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.alignment import align_poses
from hyperpose_core.geometry.poses import Array, Pose, orientation_errors_deg, rotation_vector_to_quaternion

SECOND = 1_000_000_000
WORLD_IN_MAP = Pose([400.0, -250.0, 3.0], rotation_vector_to_quaternion([0.1, -0.2, 2.5]))
LOOKING_AHEAD = Pose([0.0, 0.0, 0.0], np.array([0.5, -0.5, 0.5, -0.5]))


def turn(vector: Array) -> Pose:
    return Pose(np.zeros(3), rotation_vector_to_quaternion(vector))


def drive(number: int, generator: np.random.Generator, is_straight: bool = False) -> list[Pose]:
    """Poses in the map of an upright camera that goes along an L, or straight on."""
    poses = []
    for way in np.linspace(0.0, 40.0, number):
        position = [way, 0.0, 1.2] if way < 20 or is_straight else [20.0, way - 20.0, 1.2]
        heading = turn([0.0, 0.0, generator.uniform(-1.0, 1.0)])
        poses.append(Pose(position, (heading @ LOOKING_AHEAD).orientation))
    return poses


def seen_from_the_world(
    reference: list[Pose], generator: np.random.Generator, metres: float, degrees: float
) -> list[Pose]:
    """What a network of the trained world says of poses in the map, with normal errors."""
    poses = []
    for pose in reference:
        true = WORLD_IN_MAP.inverse() @ pose
        wrong = turn(np.radians(generator.normal(0.0, degrees, 3))) @ Pose(np.zeros(3), true.orientation)
        poses.append(Pose(true.position + generator.normal(0.0, metres, 3), wrong.orientation))
    return poses


def assert_aligned(transform: Pose, metres: float, degrees: float) -> None:
    # At the place where the robot drives: that is where a rotation's error may move nothing.
    middle = WORLD_IN_MAP.inverse().transform([10.0, 5.0, 1.2])
    assert np.linalg.norm(transform.transform(middle) - [10.0, 5.0, 1.2]) < metres
    assert orientation_errors_deg(transform.orientation, WORLD_IN_MAP.orientation) < degrees


def test_exact_poses_give_the_transform_back() -> None:
    generator = np.random.default_rng(1)
    reference = drive(30, generator)
    alignment = align_poses(seen_from_the_world(reference, generator, 0.0, 0.0), reference)
    assert_aligned(alignment.transform, 1e-6, 1e-6)
    assert alignment.used.all() and alignment.rotation_from == "positions"
    assert alignment.position_residuals.max() < 1e-6 and alignment.rotation_residuals_deg.max() < 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_two_fifths_of_wrong_poses_do_not_move_the_fit(seed: int) -> None:
    generator = np.random.default_rng(seed)
    reference = drive(200, generator)
    poses = seen_from_the_world(reference, generator, 0.1, 2.0)
    wrong = generator.choice(200, 80, replace=False)
    for index in wrong:
        # All of them off in one direction, which is what misleads a fit most.
        poses[index] = Pose(poses[index].position + [30.0, 10.0, 0.0], poses[index].orientation)
    alignment = align_poses(poses, reference)
    assert_aligned(alignment.transform, 0.1, 0.5)
    assert not alignment.used[wrong].any()
    assert alignment.used.sum() > 100
    assert np.median(alignment.position_residuals[alignment.used]) < 0.25


@pytest.mark.parametrize("number", [1, 2, 40])
def test_where_positions_lie_on_a_line_the_orientations_give_the_rotation(number: int) -> None:
    generator = np.random.default_rng(3)
    reference = drive(number, generator, is_straight=True)
    alignment = align_poses(seen_from_the_world(reference, generator, 0.0, 0.0), reference)
    assert alignment.rotation_from == "orientations"
    assert_aligned(alignment.transform, 1e-6, 1e-6)


def test_on_a_line_wrong_orientations_and_positions_are_left_out() -> None:
    generator = np.random.default_rng(4)
    reference = drive(100, generator, is_straight=True)
    poses = seen_from_the_world(reference, generator, 0.05, 1.0)
    for index in range(30):
        wrong = turn([0.0, 1.0, 0.0]) @ Pose(np.zeros(3), poses[index].orientation)
        poses[index] = Pose(poses[index].position, wrong.orientation)
    for index in range(30, 40):
        poses[index] = Pose(poses[index].position + 25.0, poses[index].orientation)
    alignment = align_poses(poses, reference)
    assert alignment.rotation_from == "orientations"
    assert not alignment.used[:40].any()
    assert_aligned(alignment.transform, 1.0, 0.6)


def test_on_a_line_orientations_that_contradict_each_other_are_refused() -> None:
    generator = np.random.default_rng(5)
    reference = drive(20, generator, is_straight=True)
    poses = [
        Pose(pose.position, rotation_vector_to_quaternion(generator.normal(0, 2, 3))) for pose in reference
    ]
    with pytest.raises(HyperPoseError, match="on a line .* differ by"):
        align_poses(poses, reference)


def write_tum(path: Path, stamps_ns: list[int], poses: list[Pose]) -> Path:
    lines = ["# timestamp x y z qx qy qz qw"]
    for stamp, pose in zip(stamps_ns, poses, strict=True):
        w, x, y, z = pose.orientation
        numbers = " ".join(f"{value:.9f}" for value in (*pose.position, x, y, z, w))
        lines.append(f"{stamp // SECOND}.{stamp % SECOND:09d} {numbers}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_command_matches_by_stamp_and_writes_the_parameter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(6)
    reference = drive(60, generator)
    stamps = [1_403_774_720 * SECOND + index * SECOND // 5 for index in range(60)]
    estimated = seen_from_the_world(reference, generator, 0.05, 1.0)
    # The reference is written in another order and 5 ms late; a third of the images has no answer.
    order = generator.permutation(60)
    late = [stamps[index] + 5_000_000 for index in order]
    reference_file = write_tum(tmp_path / "reference.tum", late, [reference[index] for index in order])
    estimated_file = write_tum(tmp_path / "estimated.tum", stamps[:40], estimated[:40])
    output = tmp_path / "align.yaml"
    files = ["--estimated", str(estimated_file), "--reference", str(reference_file)]
    assert main(["align", *files, "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "40 of 40 estimated poses have a reference pose" in printed
    assert "note:" not in printed
    numbers = yaml.safe_load(output.read_text())["/**"]["ros__parameters"]["world_to_map"]
    assert f"world_to_map: {numbers}"[:30] in printed
    x, y, z, w = numbers[3:]
    assert_aligned(Pose(numbers[:3], [w, x, y, z]), 0.1, 0.5)

    assert main(["align", *files, "--max-difference", "0.001"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "the nearest are 0.005 s apart" in error


def test_a_reference_of_another_frame_or_that_lies_on_its_side_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(7)
    reference = drive(30, generator)
    stamps = [index * SECOND for index in range(30)]
    estimated = write_tum(tmp_path / "e.tum", stamps, seen_from_the_world(reference, generator, 0.0, 0.0))
    # base_link, x ahead and z up, in place of the camera: its y axis is level, not down.
    bodies = [pose @ LOOKING_AHEAD.inverse() for pose in reference]
    wrong = write_tum(tmp_path / "r.tum", stamps, bodies)
    assert main(["align", "--estimated", str(estimated), "--reference", str(wrong)]) == 0
    printed = capsys.readouterr().out
    assert "the orientations do not fit" in printed
    assert "REP-103 has z up" in printed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1.0 0 0 0 0 0 0 1\n1.0 0 0 0 1\n", r"e.tum:2: '1.0 0 0 0 1' is not 'timestamp x y z qx qy qz qw'"),
        ("1.0 0 0 0 0 0 0 0\n", "e.tum: holds no pose"),
        ("nan 0 0 0 0 0 0 1\n", "e.tum:1: "),
        ("# nothing\n", "e.tum: holds no pose"),
        (None, "e.tum: no such file of poses"),
    ],
)
def test_a_file_that_is_no_trajectory_is_named(
    text: str | None, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "e.tum"
    if text is not None:
        path.write_text(text)
    assert main(["align", "--estimated", str(path), "--reference", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and reason in error
