"""transforms.json: what the file says of lenses, scale and splits counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_layouts import shots, write_cambridge, write_csv, write_transforms

from hyperpose_core.cli.main import main
from hyperpose_core.datasets import open_dataset
from hyperpose_core.errors import HyperPoseError


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None], lists: bool = False) -> Path:
    """Write ten frames, eight for training, and change what the file says."""
    path = write_transforms(folder, shots(), lists) / "transforms.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return folder


def test_instant_ngps_fisheye_is_no_plumb_bob(tmp_path: Path) -> None:
    path = rewritten(tmp_path, lambda content: content.update(is_fisheye=True, k4=-0.001))
    assert open_dataset(path).camera is None
    (tmp_path / "plain").mkdir()
    plain = rewritten(tmp_path / "plain", lambda content: content.update(is_fisheye=False))
    assert open_dataset(plain).camera is not None


def test_frames_of_several_cameras_know_their_own(tmp_path: Path) -> None:
    path = rewritten(tmp_path, lambda content: content["frames"][0].update(fl_x=77.0, fl_y=78.0))
    data = open_dataset(path)
    focal_lengths = [camera.fx for camera in data.cameras() if camera is not None]
    assert data.camera is None and len(focal_lengths) == len(data.images) == 10
    assert focal_lengths.count(77.0) == 1 and len(set(focal_lengths)) == 2


def test_the_applied_scale_is_undone(tmp_path: Path) -> None:
    def shrink(content: dict[str, Any]) -> None:
        content["applied_scale"] = 0.25
        for frame in content["frames"]:
            for row in frame["transform_matrix"][:3]:
                row[3] *= 0.25

    path = rewritten(tmp_path, shrink)
    expected = np.array([frame.position for frame in shots()])
    np.testing.assert_allclose(open_dataset(path).positions(), expected)
    np.testing.assert_allclose(open_dataset(path, scale="2").positions(), 0.5 * expected)
    rewritten(tmp_path, lambda content: content.update(applied_scale=0))
    with pytest.raises(HyperPoseError, match="applied_scale is 0; give a number above 0"):
        open_dataset(path)


@pytest.mark.parametrize(
    "spelled",
    [
        lambda name: f"./{name}",
        lambda name: name.removesuffix(".png"),
        lambda name: name.replace("/", "\\"),
        lambda name: f"./{name}" if int(name[-5]) % 2 else name,
    ],
    ids=["with a dot", "without suffix", "backslashes", "half of them with a dot"],
)
def test_split_lists_name_frames_however_they_are_spelled(
    spelled: Callable[[str], str], tmp_path: Path
) -> None:
    def respell(content: dict[str, Any]) -> None:
        for frame in content["frames"]:
            frame["file_path"] = spelled(frame["file_path"])

    path = rewritten(tmp_path, respell, lists=True)
    counts = {split: len(open_dataset(path, split=split).images) for split in ("train", "test")}
    assert counts == {"train": 8, "test": 2}
    assert not open_dataset(path).faults


def test_what_lists_and_frames_do_not_share_is_counted(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["train_filenames"][:2] = ["images/lost.png"]

    data = open_dataset(rewritten(tmp_path, change, lists=True), split="train")
    assert len(data.images) == 6
    assert {cause.split(" (")[0]: count for cause, count in data.faults.items()} == {
        "in none of the file's split lists, so in no split": 2,
        "named by a split list, but no frame": 1,
    }


@pytest.mark.parametrize("write", [write_csv, write_cambridge, write_transforms])
def test_missing_images_can_be_left_out_and_are_counted(
    write: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, shots())
    for image in sorted(tmp_path.rglob("*.png"))[2:4]:
        image.unlink()
    assert main(["dataset", "check", str(path)]) == 1
    assert (
        "2 images cannot be read; option skip_missing=true leaves out the 2 missing"
        in capsys.readouterr().out
    )
    assert main(["dataset", "check", str(path), "--data-option", "skip_missing=true"]) == 0
    assert " x image file missing (first: " in capsys.readouterr().out
    for image in tmp_path.rglob("*.png"):
        image.unlink()
    with pytest.raises(HyperPoseError, match="none of 10 image files is there"):
        open_dataset(path, skip_missing="true")
