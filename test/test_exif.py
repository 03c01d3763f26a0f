"""EXIF orientation and cameras of other images: pixels are those of the file, and a camera is theirs."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from dataset_layouts import (
    FOCAL,
    HEIGHT,
    LAYOUTS,
    WIDTH,
    shots,
    write_colmap_text,
    write_csv,
    write_transforms,
)
from textured_room import see, walk

from hyperpose_core.cli.main import main
from hyperpose_core.datasets import open_dataset
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.images import decode_image, read_image, read_photograph

TURN_RIGHT = 6


def turned_by_exif(jpeg: bytes, orientation: int) -> bytes:
    """Put an EXIF orientation into a JPEG."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def photograph(path: Path, orientation: int) -> np.ndarray:
    """Write a photograph; return its pixels as they are stored."""
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(see(walk(1)[0]), cv2.COLOR_RGB2BGR))[1].tobytes()
    path.write_bytes(turned_by_exif(jpeg, orientation))
    return decode_image(jpeg, "")


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("reduction", [1, 2])
def test_pixels_are_those_of_the_file(orientation: int, reduction: int, tmp_path: Path) -> None:
    stored = photograph(tmp_path / "a.jpg", orientation)
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), stored)
    reduced = decode_image((tmp_path / "a.jpg").read_bytes(), "a", reduction)
    assert reduced.shape[:2] == (stored.shape[0] // reduction, stored.shape[1] // reduction)


def test_a_photograph_is_turned_where_only_that_makes_it_one_of_the_camera(tmp_path: Path) -> None:
    """A phone held upright: its network may have been trained on pixels as stored or on turned ones."""
    stored = photograph(tmp_path / "a.jpg", TURN_RIGHT)
    height, width = stored.shape[:2]
    lying, upright = (
        CameraModel(*size, 100.0, 100.0, 50.0, 50.0) for size in ((width, height), (height, width))
    )
    np.testing.assert_array_equal(read_photograph(tmp_path / "a.jpg", lying), stored)
    np.testing.assert_array_equal(read_photograph(tmp_path / "a.jpg", None), stored)
    turned = read_photograph(tmp_path / "a.jpg", upright)
    np.testing.assert_array_equal(turned, np.rot90(stored, -1))
    photograph(tmp_path / "untagged.jpg", 1)
    np.testing.assert_array_equal(read_photograph(tmp_path / "untagged.jpg", upright), stored)


@pytest.mark.parametrize("write", [write_colmap_text, write_transforms])
def test_a_model_of_the_stored_pixels_keeps_them(write, tmp_path: Path) -> None:
    """COLMAP and exporters have pose and camera of the pixels as they lie in the file."""
    folder = write(tmp_path, shots(3))
    for image in (*folder.rglob("*.png"),):
        jpeg = cv2.imencode(".jpg", cv2.imread(str(image)))[1].tobytes()
        image.write_bytes(turned_by_exif(jpeg, TURN_RIGHT))  # whatever the name: what counts is the content
    data = open_dataset(folder)
    assert data.camera is not None and (data.camera.width, data.camera.height) == (WIDTH, HEIGHT)
    assert [image.read().shape for image in data.images] == [(HEIGHT, WIDTH, 3)] * 3


def test_a_camera_of_other_images_is_refused_at_every_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write_csv(tmp_path, shots())
    camera = f"camera={HEIGHT},{WIDTH},{FOCAL},{FOCAL},{HEIGHT / 2},{WIDTH / 2}"
    message = "the camera model is of 96x128 images, the images are 128x96 (turned, as by EXIF?)"
    for verb in (
        ["dataset", "check", str(labels)],
        ["train", "--data", str(labels), "--output", str(tmp_path / "run")],
    ):
        assert main([*verb, "--data-option", camera]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(
        HyperPoseError, match="camera model is of 640x360 images, the images are 128x96: give"
    ):
        open_dataset(labels, camera="640,360,500,500,320,180")


def test_a_camera_of_the_images_before_they_were_reduced_is_theirs(tmp_path: Path) -> None:
    assert open_dataset(write_csv(tmp_path, shots()), camera="640,480,500,500,320,240").camera is not None


def test_single_images_that_are_not_the_cameras_are_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write_csv(tmp_path, shots())
    path = sorted(tmp_path.rglob("*.png"))[3]
    cv2.imwrite(str(path), cv2.rotate(cv2.imread(str(path)), cv2.ROTATE_90_CLOCKWISE))
    assert main(["dataset", "check", str(labels), "--data-option", "camera=128,96,100,100,63.5,47.5"]) == 1
    assert "train, toytown: 1 images are 96x128, the camera's are 128x96" in capsys.readouterr().out


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_sizes_of_every_layouts_camera_and_images_agree(layout: str, tmp_path: Path) -> None:
    data = open_dataset(LAYOUTS[layout][0](tmp_path / "data" if layout == "rosbag" else tmp_path, shots()))
    height, width = data.images[0].read().shape[:2]
    assert data.camera is None or (data.camera.width, data.camera.height) == (width, height)
