"""The 7Scenes and label-CSV adapters on real files, and what they say of wrong ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import draw_image

from hyperpose_core.datasets import open_dataset
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Pose, orientation_errors_deg, rotation_vector_to_quaternion

HEADER = "scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4"


def project(pose: Pose, point: np.ndarray, focal: float = 100.0) -> np.ndarray:
    in_camera = pose.inverse().transform(point)
    return focal * in_camera[:2] / in_camera[2]


def test_seven_scenes_splits_and_poses(seven_scenes_folder: Path) -> None:
    training = open_dataset(seven_scenes_folder, split="train")
    test = open_dataset(seven_scenes_folder, split="test")
    assert [image.sequence for image in training.images] == ["seq-01"] * 12
    assert [image.sequence for image in test.images] == ["seq-02"] * 12
    assert training.scenes == ("toyroom",)
    record = test.images[3]
    np.testing.assert_allclose(record.pose.position, [0.3, 0.2, 0.1])
    np.testing.assert_array_equal(record.read(), draw_image(203))
    stamps = [image.stamp_ns for image in open_dataset(seven_scenes_folder).images]
    assert stamps == sorted(set(stamps))


def test_seven_scenes_convention_is_camera_to_world(seven_scenes_folder: Path) -> None:
    """A point 2 m ahead of a known camera and 0.5 m to its right projects to the right pixel."""
    pose = open_dataset(seven_scenes_folder, split="train").images[6].pose
    np.testing.assert_allclose(project(pose, pose.transform([0.5, 0, 2.0])), [25, 0], atol=1e-9)
    turned_right = np.array([np.sin(0.18), 0, np.cos(0.18)])
    np.testing.assert_allclose(pose.transform([0, 0, 1]) - pose.position, turned_right, atol=1e-9)


@pytest.mark.parametrize(
    ("damage", "culprit"),
    [
        (lambda scene: (scene / "TestSplit.txt").unlink(), "TestSplit.txt"),
        (lambda scene: (scene / "TestSplit.txt").write_text("sequence9\n"), "seq-09"),
        (lambda scene: [file.unlink() for file in (scene / "seq-02").glob("*.png")], "seq-02"),
    ],
)
def test_a_damaged_scene_is_one_line_that_names_the_culprit(
    seven_scenes_folder, tmp_path, damage, culprit
) -> None:
    scene = tmp_path / "toyroom"
    shutil.copytree(seven_scenes_folder, scene)
    damage(scene)
    with pytest.raises(HyperPoseError, match=culprit) as error:
        open_dataset(scene, split="test")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "1 2 3",
        "-1.#IND " * 12 + "0 0 0 1",
        "1.#QNAN0 " * 12 + "0 0 0 1",
        "-nan(ind) " * 16,
        "# lost",
    ],
)
def test_frames_whose_pose_was_lost_cost_themselves_only(
    seven_scenes_folder: Path, tmp_path: Path, text: str | None
) -> None:
    """As in recordings that lose track of the camera, some of them of programs for Windows."""
    scene = tmp_path / "toyroom"
    shutil.copytree(seven_scenes_folder, scene)
    file = scene / "seq-02" / "frame-000004.pose.txt"
    file.unlink()
    if text is not None:
        file.write_text(text)
    data = open_dataset(scene, split="test")
    assert len(data.images) == 11
    ((cause, count),) = data.dropped.items()
    assert "frame-000004.pose.txt" in cause and count == 1
    for other in (scene / "seq-02").glob("*.pose.txt"):
        other.unlink()
        if text is not None:
            other.write_text(text)
    with pytest.raises(HyperPoseError, match="no usable frame; left out: .*12"):
        open_dataset(scene, split="test")


def test_a_folder_of_another_layout_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(HyperPoseError, match="layout not recognised.*7Scenes"):
        open_dataset(tmp_path)


def write_labels(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_label_csv_keeps_its_split_and_scales_quaternions(tmp_path: Path) -> None:
    path = write_labels(
        tmp_path,
        "shop,train,seq1,shop/seq1/a.png,1,2,3,-2,0,0,0",
        "shop,test,seq2,shop/seq2/b.png,4,5,6,0.7,0.7,0,0",
    )
    data = open_dataset(path, split="train")
    assert [image.path for image in data.images] == [tmp_path / "shop/seq1/a.png"]
    np.testing.assert_allclose(data.images[0].pose.orientation, [1, 0, 0, 0])
    assert len(open_dataset(path).images) == 2


@pytest.mark.parametrize("order", ["wxyz", "xyzw"])
@pytest.mark.parametrize(
    ("convention", "written"),
    [
        ("camera_to_world", lambda pose: pose),
        ("centre_and_world_to_camera_rotation", lambda pose: Pose(pose.position, pose.inverse().orientation)),
        ("world_to_camera_extrinsics", lambda pose: pose.inverse()),
    ],
)
def test_label_csv_takes_every_convention(
    convention: str, written: Callable[[Pose], Pose], order: str, tmp_path: Path
) -> None:
    pose = Pose(np.array([1.0, -2.0, 30.0]), rotation_vector_to_quaternion([0.3, -0.5, 0.9]))
    w, *xyz = written(pose).orientation.tolist()
    quaternion = [w, *xyz] if order == "wxyz" else [*xyz, w]
    numbers = ",".join(map(repr, [*written(pose).position.tolist(), *quaternion]))
    path = write_labels(tmp_path, f"shop,train,seq1,a.png,{numbers}")
    options = {"convention": convention, "quaternion_order": order}
    read = open_dataset(path, origin="0,0,20", **options).images[0].pose
    assert orientation_errors_deg(read.orientation, pose.orientation) < 1e-9
    np.testing.assert_allclose(read.position, [1.0, -2.0, 10.0], atol=1e-9)


def test_an_ambiguous_convention_is_refused(tmp_path: Path) -> None:
    path = write_labels(tmp_path, "shop,train,seq1,a.png,1,2,3,1,0,0,0")
    names = "centre_and_world_to_camera_rotation or world_to_camera_extrinsics"
    with pytest.raises(HyperPoseError, match=f"'world_to_camera' is unknown; use .*{names}"):
        open_dataset(path, convention="world_to_camera")
    with pytest.raises(HyperPoseError, match="quaternion_order 'zyxw' is unknown; use wxyz or xyzw"):
        open_dataset(path, quaternion_order="zyxw")


@pytest.mark.parametrize(
    ("row", "culprit"),
    [
        ("shop,train,seq1,a.png,1,2,3,0,0,0,0", "row 3: .*zero"),
        ("shop,train,seq1,a.png,1,nan,3,1,0,0,0", "row 3: .*finite"),
        ("shop,train,seq1,a.png,1,x,3,1,0,0,0", "row 3: .*'x'"),
        ("shop,train,seq1,a.png,1,2", "row 3"),
    ],
)
def test_a_bad_label_is_named_by_its_row(tmp_path: Path, row: str, culprit: str) -> None:
    path = write_labels(tmp_path, "shop,train,seq1,a.png,1,2,3,1,0,0,0", row)
    with pytest.raises(HyperPoseError, match=culprit):
        open_dataset(path)


def test_a_missing_column_and_a_missing_split_are_named(tmp_path: Path) -> None:
    with pytest.raises(HyperPoseError, match="column 'q4' is missing"):
        open_dataset(write_labels(tmp_path, header=HEADER.removesuffix(",q4")))
    path = write_labels(tmp_path, "shop,train,seq1,a.png,1,2,3,1,0,0,0")
    with pytest.raises(HyperPoseError, match="no row of split 'test'; splits in the file: train"):
        open_dataset(path, split="test")


def test_unknown_options_name_the_known_ones(tmp_path: Path) -> None:
    path = write_labels(tmp_path, "shop,train,seq1,a.png,1,2,3,1,0,0,0")
    with pytest.raises(HyperPoseError, match="no option 'colour'; it has: .*convention"):
        open_dataset(path, colour="red")


def test_real_frames_and_labels_agree(shared_data: Path) -> None:
    """The CSV of the reference implementation holds the poses of the official files."""
    labels = open_dataset(shared_data / "7scenes" / "redkitchen_test.csv", split="test")
    frames = open_dataset(shared_data / "7scenes" / "redkitchen")
    assert len(labels.images) == 130
    assert len(frames.images) == 740
    by_name = {record.path.name: record.pose for record in frames.images}
    for record in labels.images:
        official = by_name[record.path.name]
        np.testing.assert_allclose(record.pose.position, official.position, atol=1e-6)
        assert orientation_errors_deg(record.pose.orientation, official.orientation) < 0.05
