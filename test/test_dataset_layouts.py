"""What single dataset layouts have of their own, on miniatures of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from dataset_layouts import (
    FOCAL,
    Shot,
    shots,
    write_cambridge,
    write_colmap_text,
    write_csv,
    write_transforms,
)

from hyperpose_core.datasets import MissingSplitError, open_dataset
from hyperpose_core.errors import HyperPoseError


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
