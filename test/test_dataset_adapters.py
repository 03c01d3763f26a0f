"""What all dataset adapters have in common, on miniatures of their layouts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import draw_image
from dataset_layouts import (
    FOCAL,
    HEIGHT,
    LAYOUTS,
    WIDTH,
    Shot,
    changed,
    shots,
    write_colmap_text,
    write_transforms,
)

from hyperpose_core.datasets import CameraModel, MissingSplitError, dataset_format, open_dataset
from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.errors import HyperPoseError

TEXT_LAYOUTS = ("csv", "7scenes", "cambridge", "colmap text", "transforms")


def write(layout: str, folder: Path, frames: list[Shot]) -> Path:
    place = folder / "toytown"
    if layout != "rosbag":
        place.mkdir()
    return LAYOUTS[layout][0](place, frames)


def in_order(data: PosedImageSet) -> list[PosedImage]:
    return sorted(data.images, key=lambda image: float(image.pose.position[0]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_known_point_projects_to_where_it_must_be(layout: str, tmp_path: Path) -> None:
    """4 m ahead of a known camera, 1 m to its right and 0.5 m above it."""
    frames = shots()
    path = write(layout, tmp_path, frames)
    assert dataset_format(path) == LAYOUTS[layout][1]
    data = open_dataset(path)
    assert len(data.images) == len(frames)
    assert data.scenes == (("toytown",))
    assert not data.dropped
    assert not data.faults
    for frame, record in zip(frames, in_order(data), strict=True):
        np.testing.assert_allclose(record.pose.position, frame.position, atol=1e-9)
        point = frame.position + 4.0 * frame.forward + frame.right - 0.5 * frame.down
        seen = record.pose.inverse().transform(point)
        np.testing.assert_allclose(FOCAL * seen[:2] / seen[2], [25.0, -12.5], atol=1e-6)
        assert seen[2] == pytest.approx(4.0)
        np.testing.assert_array_equal(record.read(), draw_image(frame.index))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_train_and_test_share_no_frame(layout: str, tmp_path: Path) -> None:
    path = write(layout, tmp_path, shots())
    # Ten frames make ten blocks of one; the third of every five is for testing.
    expected = [2, 7] if LAYOUTS[layout][1] in ("colmap", "transforms", "rosbag") else [8, 9]
    test = [round(2 * image.pose.position[0] - 2) for image in open_dataset(path, split="test").images]
    training = [round(2 * image.pose.position[0] - 2) for image in open_dataset(path, split="train").images]
    assert test == expected
    assert training == [index for index in range(10) if index not in expected]
    with pytest.raises(MissingSplitError, match="'?night'?"):
        open_dataset(path, split="night")


@pytest.mark.parametrize("layout", ["colmap text", "colmap binary", "transforms", "rosbag"])
def test_the_camera_comes_with_the_images(layout: str, tmp_path: Path) -> None:
    """The formats that count pixels from the image's corner are moved to pixel centres."""
    camera = open_dataset(write(layout, tmp_path, shots(2))).camera
    assert camera is not None
    assert (camera.width, camera.height, camera.fx, camera.fy) == (128, 96, FOCAL, FOCAL)
    assert (camera.cx, camera.cy) == (63.5, 47.5)
    assert camera.distortion == (0.1, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("layout", TEXT_LAYOUTS)
@pytest.mark.parametrize("line_ends", ["byte order mark", "carriage returns"])
def test_windows_text_files_read_the_same(layout: str, line_ends: str, tmp_path: Path) -> None:
    path = write(layout, tmp_path, shots())
    before = open_dataset(path)
    for file in [
        file for file in (tmp_path / "toytown").rglob("*") if file.suffix in (".txt", ".csv", ".json")
    ]:
        text = file.read_bytes()
        file.write_bytes(
            b"\xef\xbb\xbf" + text if line_ends == "byte order mark" else text.replace(b"\n", b"\r\n")
        )
    after = open_dataset(path)
    np.testing.assert_array_equal(after.positions(), before.positions())
    np.testing.assert_array_equal(after.orientations(), before.orientations())
    assert [image.path for image in after.images] == [image.path for image in before.images]
    assert len(open_dataset(path, split="test").images) == 2


@pytest.mark.parametrize("layout", ["csv", "cambridge", "colmap text", "colmap binary", "rosbag"])
def test_a_quaternion_of_norm_2_is_scaled_and_counted(layout: str, tmp_path: Path) -> None:
    frames = shots()
    data = open_dataset(write(layout, tmp_path, changed(frames, 3, norm=2.0)))
    assert len(data.images) == 10
    np.testing.assert_allclose(in_order(data)[3].pose.rotation(), frames[3].camera_to_world, atol=1e-9)
    ((fault, count),) = data.faults.items()
    assert "unit norm" in fault
    assert count == 1


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout not in ("csv", "rosbag")])
def test_a_pose_that_is_not_finite_is_left_out_and_named(layout: str, tmp_path: Path) -> None:
    frames = changed(shots(), 3, position=np.array([np.nan, 2.0, 3.0]))
    data = open_dataset(write(layout, tmp_path, frames))
    assert len(data.images) == 9
    ((cause, count),) = data.dropped.items()
    assert "not finite" in cause
    assert "3" in cause
    assert count == 1
    assert data.faults == data.dropped


def test_a_label_that_is_not_finite_names_its_row(tmp_path: Path) -> None:
    frames = changed(shots(), 3, position=np.array([np.nan, 2.0, 3.0]))
    with pytest.raises(HyperPoseError, match="row 5.*finite"):
        open_dataset(write("csv", tmp_path, frames))


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "rosbag"])
def test_an_absurd_position_is_left_out_and_named(layout: str, tmp_path: Path) -> None:
    """As Great Court's seq5/frame00297, which the labels put 3e9 m away."""
    data = open_dataset(write(layout, tmp_path, changed(shots(), 3, position=np.array([3e9, 2.0, 3.0]))))
    assert len(data.images) == 9
    ((cause, _),) = data.faults.items()
    assert "100 km" in cause
    assert "3.png" in cause or "000003" in cause


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_empty_folder_is_one_line(layout: str, tmp_path: Path) -> None:
    with pytest.raises(HyperPoseError) as error:
        open_dataset(tmp_path, format=LAYOUTS[layout][1])
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_directory_in_the_place_of_the_labels_is_one_line(layout: str, tmp_path: Path) -> None:
    path = write(layout, tmp_path, shots(5))
    labels = tmp_path / "toytown" / LAYOUTS[layout][2]
    labels.unlink()
    labels.mkdir()
    with pytest.raises(HyperPoseError) as error:
        open_dataset(path, format=LAYOUTS[layout][1])
    assert "\n" not in str(error.value)
    assert str(labels.relative_to(tmp_path).parts[0]) in str(error.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_that_break_off_are_one_line(layout: str, tmp_path: Path) -> None:
    path = write(layout, tmp_path, shots(5))
    labels = tmp_path / "toytown" / LAYOUTS[layout][2]
    content = labels.read_bytes()
    labels.write_bytes(content[: int(0.6 * len(content))] + b" \x00\xff")
    with pytest.raises(HyperPoseError) as error:
        open_dataset(path, format=LAYOUTS[layout][1])
    assert "\n" not in str(error.value)
    assert labels.name in str(error.value) or layout == "rosbag"


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "rosbag"])
def test_a_missing_or_broken_image_is_named_when_it_is_read(layout: str, tmp_path: Path) -> None:
    records = in_order(open_dataset(write(layout, tmp_path, shots(3))))
    records[0].path.unlink()
    records[1].path.write_bytes(records[1].path.read_bytes()[:-200])
    records[2].path.unlink()
    records[2].path.mkdir()
    for record in records:
        with pytest.raises(HyperPoseError, match=record.path.name):
            record.read()


SHARED = [layout for layout in LAYOUTS if layout not in ("csv", "rosbag")]


@pytest.mark.parametrize("layout", SHARED)
def test_every_adapter_takes_the_camera_and_the_origin_that_advice_names(layout: str, tmp_path: Path) -> None:
    path = write(layout, tmp_path, shots(3))
    camera = f"{WIDTH},{HEIGHT},90,91,30,20"
    plain, data = open_dataset(path), open_dataset(path, camera=camera, origin="1,2,3")
    assert data.camera == CameraModel(WIDTH, HEIGHT, 90.0, 91.0, 30.0, 20.0)
    np.testing.assert_allclose(data.positions(), plain.positions() - [1.0, 2.0, 3.0], atol=1e-9)
    np.testing.assert_allclose(data.world.origin, [1.0, 2.0, 3.0])
    with pytest.raises(HyperPoseError, match="option origin is '1,2'"):
        open_dataset(path, origin="1,2")


def test_only_a_said_scale_makes_units_of_a_reconstruction_metres(tmp_path: Path) -> None:
    for name in ("colmap", "transforms"):
        (tmp_path / name).mkdir()
    model = write("colmap text", tmp_path / "colmap", shots(3))
    assert "not known" in open_dataset(model).world.unit_note
    assert open_dataset(model, scale="1").world.is_metric
    transforms = write("transforms", tmp_path / "transforms", shots(3))
    assert open_dataset(transforms).world.is_metric  # a phone's, perhaps
    file = transforms / "transforms.json" if transforms.is_dir() else transforms
    content = json.loads(file.read_text())
    for number, frame in enumerate(content["frames"]):
        frame["colmap_im_id"] = number
    file.write_text(json.dumps(content))
    assert "not known" in open_dataset(transforms).world.unit_note
    assert open_dataset(transforms, scale="0.5").world.is_metric


@pytest.mark.parametrize("layout", ["colmap text", "transforms"])
def test_units_of_a_reconstruction_become_metres(layout: str, tmp_path: Path) -> None:
    path = write(layout, tmp_path, shots(3))
    scaled = open_dataset(path, scale="0.5")
    np.testing.assert_allclose(scaled.positions(), 0.5 * open_dataset(path).positions(), atol=1e-9)
    with pytest.raises(HyperPoseError, match="option scale is '0'"):
        open_dataset(path, scale="0")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"block": "2"}, [4, 5]),
        ({"block": "1", "test_every": "2"}, [1, 3, 5, 7, 9]),
        ({"test_fraction": "0.3"}, [7, 8, 9]),
    ],
)
def test_frames_are_divided_as_the_options_say(
    options: dict[str, str], expected: list[int], tmp_path: Path
) -> None:
    path = write_transforms(tmp_path, shots())
    test = open_dataset(path, split="test", **options)
    assert [round(2 * image.pose.position[0] - 2) for image in test.images] == expected


def test_a_file_may_say_which_images_are_for_testing(tmp_path: Path) -> None:
    path = write_colmap_text(tmp_path, shots())
    names = tmp_path / "test.txt"
    names.write_text("# mine\nmy photos/IMG_4.png\nmy photos/IMG_999.png\n")
    test = open_dataset(path, split="test", split_file=str(names))
    assert [image.path.name for image in test.images] == ["IMG_4.png"]
    with pytest.raises(HyperPoseError, match="exclude each other"):
        open_dataset(path, split="test", split_file=str(names), block="2")
    names.write_text("other.png\n")
    with pytest.raises(HyperPoseError, match="names no image of the dataset"):
        open_dataset(path, split="test", split_file=str(names))
