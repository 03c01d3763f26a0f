"""Folders of images of made-up rooms, with the label file that names where each was taken."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
from landmark_scene import CAMERA, Room

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose

CAMERA_OPTION = f"camera={CAMERA.width},{CAMERA.height},{CAMERA.fx},{CAMERA.fy},{CAMERA.cx},{CAMERA.cy}"

_COLUMNS = ("scene", "split", "seq", "img_path", "t1", "t2", "t3", "q1", "q2", "q3", "q4")


def write_rooms(
    folder: Path, rooms: dict[str, Room], poses: Sequence[Pose], camera: CameraModel = CAMERA
) -> Path:
    """Render each room from each pose into a folder.

    Returns:
        the label CSV.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for scene, room in rooms.items():
        for index, pose in enumerate(poses):
            name = f"{scene}-{index:03d}.png"
            cv2.imwrite(str(folder / name), cv2.cvtColor(room.render(pose, camera), cv2.COLOR_RGB2BGR))
            rows.append((scene, "train", "tour", name, *pose.position, *pose.orientation))
    labels = folder / "labels.csv"
    with labels.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(rows)
    return labels
