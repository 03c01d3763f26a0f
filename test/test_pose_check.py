"""Poses and camera held against the images: the usual mistakes are named, correct labels raise no alarm."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from dataset_layouts import shots, write_csv
from textured_room import CAMERA, FOCAL, HEIGHT, WIDTH, see, walk

from hyperpose_core.cli.main import main
from hyperpose_core.dataset_check.image_evidence import SampleSize
from hyperpose_core.dataset_check.pose_check import PoseCheck, check_poses
from hyperpose_core.datasets import PosedImageSet, open_dataset
from hyperpose_core.geometry.poses import Pose, rotation_vector_to_quaternion
from hyperpose_core.images import RgbImage, read_image

FRAMES = 20
SMALL_SAMPLE = SampleSize(anchors=6)
OPENGL = Pose(np.zeros(3), np.array([0.0, 1.0, 0.0, 0.0]))
OPTICAL_IN_BODY = Pose(np.zeros(3), np.array([0.5, -0.5, 0.5, -0.5]))
ELSEWHERE = Pose(np.array([4.0, -7.0, 1.0]), rotation_vector_to_quaternion([0.3, -0.2, 1.9]))

Plant = Callable[[PosedImageSet], PosedImageSet]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A label file of a walk through a room, without any mistake."""
    folder = tmp_path_factory.mktemp("room")
    lines = ["scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4"]
    for number, pose in enumerate(walk(FRAMES)):
        name = f"{number:04d}.png"
        cv2.imwrite(str(folder / name), cv2.cvtColor(see(pose), cv2.COLOR_RGB2BGR))
        values = ",".join(map(repr, [*pose.position.tolist(), *pose.orientation.tolist()]))
        lines.append(f"room,{'test' if number % 6 == 5 else 'train'},walk,{name},{values}")
    path = folder / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def labelled(room: Path) -> PosedImageSet:
    return open_dataset(room, camera=CAMERA)


def posed(change: Callable[[Pose], Pose]) -> Plant:
    return lambda data: replace(
        data, images=tuple(replace(image, pose=change(image.pose)) for image in data.images)
    )


def seen(**camera: float) -> Plant:
    return lambda data: replace(data, camera=replace(data.camera, **camera))  # type: ignore[type-var]


def conjugate(pose: Pose) -> Pose:
    return Pose(pose.position, pose.orientation * [1.0, -1.0, -1.0, -1.0])


def relabelled(rows: Callable[[int], int]) -> Plant:
    def plant(data: PosedImageSet) -> PosedImageSet:
        poses = [data.images[min(max(rows(row), 0), FRAMES - 1)].pose for row in range(FRAMES)]
        return replace(
            data,
            images=tuple(replace(image, pose=pose) for image, pose in zip(data.images, poses, strict=True)),
        )

    return plant


@dataclass(frozen=True)
class Turned:
    """Reads images as software does that turns them by their EXIF tag."""

    quarters: int

    def __call__(self, path: Path) -> RgbImage:
        return np.ascontiguousarray(np.rot90(read_image(path), -self.quarters))


def turned(quarters: int) -> Plant:
    return lambda data: replace(
        data, images=tuple(replace(image, reader=Turned(quarters)) for image in data.images)
    )


def in_two_sequences(data: PosedImageSet, move: Callable[[Pose], Pose] = lambda pose: pose) -> PosedImageSet:
    """Call every other frame another recording, whose poses are moved."""
    images = [
        replace(image, sequence="second", pose=move(image.pose)) if number % 2 else image
        for number, image in enumerate(data.images)
    ]
    return replace(data, images=tuple(images))


def check(data: PosedImageSet) -> PoseCheck:
    return check_poses([data], SMALL_SAMPLE)


PLANTS: dict[str, tuple[str, Plant]] = {
    "world to camera": ("inverted", posed(Pose.inverse)),
    "rotation inverted": ("rotation inverted", posed(conjugate)),
    "OpenGL": ("OpenGL axes", posed(lambda pose: pose @ OPENGL)),
    "x forward": ("body axes", posed(lambda pose: pose @ OPTICAL_IN_BODY.inverse())),
    "x, y, z, w": ("quaternion order", posed(lambda p: Pose(p.position, np.roll(p.orientation, -1)))),
    "w, x, y, z": ("quaternion order", posed(lambda p: Pose(p.position, np.roll(p.orientation, 1)))),
    "view matrix": ("view matrix", posed(lambda pose: (pose @ OPENGL).inverse())),
    "transposed": ("matrix transposed", posed(lambda pose: Pose.from_matrix(pose.matrix().T))),
    "the next frame's": ("shifted", relabelled(lambda row: row + 1)),
    "the last frame's": ("shifted", relabelled(lambda row: row - 1)),
    "reversed": ("reversed", relabelled(lambda row: FRAMES - 1 - row)),
    "turned right": ("EXIF turn", turned(1)),
    "turned round": ("EXIF turn", turned(2)),
    "turned left": ("EXIF turn", turned(3)),
    "focal length long": ("focal length", seen(fx=1.2 * FOCAL, fy=1.2 * FOCAL)),
    "focal length short": ("focal length", seen(fx=0.8 * FOCAL, fy=0.8 * FOCAL)),
    "corner": ("principal point", seen(cx=0.0, cy=0.0)),
    "two worlds": ("another world", lambda data: in_two_sequences(data, lambda pose: ELSEWHERE @ pose)),
}


@pytest.mark.parametrize("planted", PLANTS)
def test_a_planted_mistake_is_named(planted: str, labelled: PosedImageSet) -> None:
    kind, plant = PLANTS[planted]
    found = check(plant(labelled)).mistakes
    assert [mistake.kind for mistake in found] == [kind]
    assert found[0].labelled_px > 0.5
    assert not found[0].mended_px > 0.4  # not a number where no correction is known


@pytest.mark.parametrize(
    "correct",
    [
        lambda data: data,
        in_two_sequences,
        lambda data: replace(data, camera=None),
        posed(lambda pose: ELSEWHERE @ pose),
        posed(lambda pose: Pose(3.28 * pose.position, pose.orientation)),
    ],
    ids=["as it is", "two recordings", "camera unknown", "another world", "in feet"],
)
def test_correct_labels_raise_no_alarm(correct: Plant, labelled: PosedImageSet) -> None:
    found = check(correct(labelled))
    assert found.mistakes == ()
    (scene,) = found.scenes
    assert scene.pairs >= 8
    assert scene.error_px < 1.0


def test_without_a_camera_its_focal_length_is_fitted(labelled: PosedImageSet) -> None:
    unknown = replace(labelled, camera=None)
    (scene,) = check(unknown).scenes
    assert scene.focal_px == pytest.approx(FOCAL, rel=0.2)
    found = check(posed(Pose.inverse)(unknown))
    assert [mistake.kind for mistake in found.mistakes] == ["inverted"]


def test_only_the_sequence_that_is_wrong_is_named(labelled: PosedImageSet) -> None:
    wrong = in_two_sequences(labelled, lambda pose: pose @ OPENGL)
    found = check_poses([wrong], SampleSize(anchors=20)).mistakes
    assert [(mistake.kind, mistake.sequences) for mistake in found] == [("OpenGL axes", ("second",))]


def test_poses_that_nothing_explains_are_a_problem(labelled: PosedImageSet) -> None:
    generator = np.random.default_rng(1)
    shaken = posed(
        lambda pose: pose @ Pose(np.zeros(3), rotation_vector_to_quaternion(generator.normal(0, 0.3, 3)))
    )
    assert [mistake.kind for mistake in check(shaken(labelled)).mistakes] == ["unexplained"]


def test_what_the_images_do_not_show_is_not_judged(tmp_path: Path) -> None:
    """Images of which no two show the same."""
    found = check(open_dataset(write_csv(tmp_path, shots(10))))
    assert found.mistakes == ()
    assert found.scenes[0].pairs == 0
    assert "poses were not checked by the images: 0 pairs" in found.notes()[0]


def test_the_command_names_the_mistake_in_text_and_json(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = ["dataset", "check", str(room), "--data-option", f"camera={CAMERA}"]
    assert main(sound) == 0
    text = capsys.readouterr().out
    assert "room: epipolar error 0." in text
    assert "scale cannot be seen this way" in text
    assert "up in the images is (" in text
    wide = [*sound[:3], "--data-option", f"camera={WIDTH},{HEIGHT},195,195,79.5,59.5"]
    assert main([*wide, "--output", str(tmp_path)]) == 1
    assert "the focal length is wrong: about 0.7 times the camera model's fits" in capsys.readouterr().out
    (mistake,) = json.loads((tmp_path / "check.json").read_text())["poses_by_images"]["mistakes"]
    assert mistake["kind"] == "focal length"
    assert mistake["labelled_px"] > 2 * mistake["mended_px"]


def test_training_does_not_start_on_labels_that_the_images_contradict(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = room.with_name("wrong.csv")
    head, *rows = room.read_text().splitlines()
    fields = [row.split(",") for row in rows]
    wrong.write_text("\n".join([head, *(",".join([*f[:7], *f[8:11], f[7]]) for f in fields)]) + "\n")
    output = tmp_path / "run"
    assert main(["train", "--data", str(wrong), "--output", str(output), "--recipe", "demo"]) == 2
    error = capsys.readouterr().err
    assert "the images contradict the labels: room: quaternions are x, y, z, w, read as w, x, y, z" in error
    assert "--unchecked" in error
    assert not output.exists()
