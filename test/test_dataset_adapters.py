"""Every adapter on a miniature of the official layout: conventions, splits, and damaged files."""

from __future__ import annotations

import json
import shutil
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
    write_cambridge,
    write_colmap_text,
    write_csv,
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


def test_cambridge_scenes_are_read_together_and_know_their_up(tmp_path: Path) -> None:
    for name, start in (("ShopFacade", 0), ("KingsCollege", 0)):
        write_cambridge(tmp_path / name, shots(10, start))
    data = open_dataset(tmp_path, split="test")
    assert data.scenes == ("KingsCollege", "ShopFacade")
    assert len(data.images) == 4
    assert data.world.up == (0.0, 0.0, 1.0)
    assert len(open_dataset(tmp_path, scene="ShopFacade").images) == 10
    with pytest.raises(HyperPoseError, match="no scene 'Street'"):
        open_dataset(tmp_path, scene="Street")


def test_cambridge_rows_that_are_no_labels_are_named(tmp_path: Path) -> None:
    write_cambridge(tmp_path, shots())
    labels = tmp_path / "dataset_train.txt"
    labels.write_text(labels.read_text() + "seq1/frame00099.png 1 2 three 1 0 0 0\n")
    with pytest.raises(
        HyperPoseError, match=r"dataset_train.txt, row 12: .*'three'; expected image x y z w p q r"
    ):
        open_dataset(tmp_path)
    labels.write_text("\n")
    with pytest.raises(HyperPoseError, match="no usable frame"):
        open_dataset(tmp_path, split="train")


def add_variants(scene: Path, folder: Path, condition: str, suffix: str) -> None:
    for frame in shots(2, 8):
        frame.save(folder / f"seq2/frame{frame.index:05d}{suffix}.png")


def test_extended_cambridge_as_it_is_published(tmp_path: Path) -> None:
    """`<condition>/<Scene>/seq2/frame00008_<condition>.png`, beside the dataset or in a place of its own."""
    scene = write_cambridge(tmp_path / "ShopFacade", shots())
    for condition in ("evening", "winter", "summer"):
        add_variants(scene, tmp_path / condition / "ShopFacade", condition, f"_{condition}")
    plain = open_dataset(tmp_path, split="test")
    assert {image.condition for image in plain.images} == {""}
    data = open_dataset(tmp_path, split="test", conditions="all")
    assert [image.condition for image in data.images] == [
        *["original"] * 2,
        *["evening"] * 2,
        *["winter"] * 2,
        *["summer"] * 2,
    ]
    for record in data.images:
        assert record.read().shape == (96, 128, 3)
    np.testing.assert_array_equal(data.positions(), np.tile(plain.positions(), (4, 1)))
    assert {image.condition for image in open_dataset(tmp_path, split="train", conditions="all").images} == {
        "original"
    }
    shutil.move(tmp_path / "winter", tmp_path / "elsewhere" / "winter")
    only = open_dataset(scene, split="test", conditions="winter", extended=str(tmp_path / "elsewhere"))
    assert [image.path.name for image in only.images] == ["frame00008_winter.png", "frame00009_winter.png"]
    with pytest.raises(HyperPoseError, match="no images of condition 'winter'.*extended"):
        open_dataset(scene, split="test", conditions="winter")


def test_variants_inside_the_scene_keep_their_names(tmp_path: Path) -> None:
    scene = write_cambridge(tmp_path / "ShopFacade", shots())
    add_variants(scene, scene / "snow", "snow", "")
    data = open_dataset(scene, split="test", conditions="original,snow")
    assert [image.path.parent.parent.name for image in data.images] == ["ShopFacade"] * 2 + ["snow"] * 2


def test_labels_may_carry_conditions(tmp_path: Path) -> None:
    path = write_csv(tmp_path, shots(3))
    assert {image.condition for image in open_dataset(path, condition="winter").images} == {"winter"}
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0] + ",condition", *(line + ",evening" for line in lines[1:])]))
    assert {image.condition for image in open_dataset(path).images} == {"evening"}


def test_labels_in_utm_are_kept_local(tmp_path: Path) -> None:
    far = [Shot(frame.index, frame.position + [620000.0, 5734000.0, 0.0], 0) for frame in shots(3)]
    data = open_dataset(write_csv(tmp_path, far), origin="620000,5734000,0")
    np.testing.assert_allclose(data.positions(), [frame.position for frame in shots(3)], atol=1e-6)
    np.testing.assert_array_equal(data.world.origin, [620000.0, 5734000.0, 0.0])


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


def test_the_splits_that_a_transforms_file_lists_are_kept(tmp_path: Path) -> None:
    path = write_transforms(tmp_path, shots(), lists=True)
    assert [image.path.name for image in open_dataset(path, split="test").images] == [
        "frame_8.png",
        "frame_9.png",
    ]
    with pytest.raises(MissingSplitError, match="no split 'val'; the file has: test, train"):
        open_dataset(path, split="val")
    assert len(open_dataset(path, split="test", block="1", test_every="2").images) == 5


def test_nerf_scenes_with_a_file_a_split(tmp_path: Path) -> None:
    """Blender's scenes: names without suffix, the focal length as an angle, no image size."""
    write_transforms(tmp_path, shots())
    content = json.loads((tmp_path / "transforms.json").read_text())
    (tmp_path / "transforms.json").unlink()
    for entry in content["frames"]:
        entry["file_path"] = "./" + entry["file_path"].removesuffix(".png")
    for split, entries in (("train", content["frames"][:8]), ("test", content["frames"][8:])):
        scene = {"camera_angle_x": 2 * np.arctan(64 / FOCAL), "frames": entries}
        (tmp_path / f"transforms_{split}.json").write_text(json.dumps(scene))
    data = open_dataset(tmp_path, split="test")
    assert [image.path.name for image in data.images] == ["frame_8.png", "frame_9.png"]
    assert data.camera is not None
    assert data.camera.fx == pytest.approx(FOCAL)
    assert (data.camera.width, data.camera.height, data.camera.cx) == (128, 96, 63.5)
    assert len(open_dataset(tmp_path).images) == 10


def test_the_largest_of_several_colmap_models_is_taken(tmp_path: Path) -> None:
    path = write_colmap_text(tmp_path, shots())
    shutil.copytree(path / "sparse/0", path / "sparse/1")
    lines = (path / "sparse/0/images.txt").read_text().splitlines()
    (path / "sparse/0/images.txt").write_text("\n".join(lines[:5]) + "\n")
    data = open_dataset(path)
    assert len(data.images) == 10
    ((cause, count),) = data.dropped.items()
    assert "another model" in cause
    assert count == 2
    assert len(open_dataset(path / "sparse/0").images) == 2


def test_colmap_lists_without_points_lines_lose_no_image(tmp_path: Path) -> None:
    path = write_colmap_text(tmp_path, shots())
    file = path / "sparse/0/images.txt"
    file.write_text("\n".join(line for line in file.read_text().splitlines() if "IMG" in line) + "\n")
    assert len(open_dataset(path).images) == 10


def test_images_of_several_colmap_cameras_know_their_own(tmp_path: Path) -> None:
    path = write_colmap_text(tmp_path, shots(4))
    with (path / "sparse/0/cameras.txt").open("a") as stream:
        stream.write("2 PINHOLE 128 96 90 91 64 48\n")
    file = path / "sparse/0/images.txt"
    lines = file.read_text().splitlines()
    first = next(index for index, line in enumerate(lines) if line.endswith(".png"))
    *numbers, _, name = lines[first].split(maxsplit=9)  # names have blanks
    lines[first] = " ".join([*numbers, "2", name])
    file.write_text("\n".join(lines) + "\n")
    data = open_dataset(path)
    cameras = {image.path.name: camera for image, camera in zip(data.images, data.cameras(), strict=True)}
    other = cameras.pop(Path(name).name)
    assert data.camera is None and other is not None and (other.fx, other.fy, other.cx) == (90, 91, 63.5)
    assert len(cameras) == 3 and {camera.fx for camera in cameras.values() if camera} == {FOCAL}


def test_colmap_cameras_that_are_no_pinholes_are_not_taken_for_one(tmp_path: Path) -> None:
    path = write_colmap_text(tmp_path, shots(2))
    file = path / "sparse/0/cameras.txt"
    file.write_text("1 OPENCV_FISHEYE 128 96 100 100 64 48 0.1 0 0 0\n")
    assert open_dataset(path).camera is None
    file.write_text("1 PINHOLE 128 96 100 64 48\n")
    with pytest.raises(HyperPoseError, match="cameras.txt, row 1: PINHOLE takes 4 parameters, not 3"):
        open_dataset(path)


def test_seven_scenes_colour_camera_is_not_the_depth_camera(shared_data: Path) -> None:
    camera = open_dataset(shared_data / "7scenes" / "redkitchen").camera
    assert camera is not None
    assert camera.fx == 525.5
