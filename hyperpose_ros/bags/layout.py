"""What a bag made from a dataset holds: its topics, its frames, and the messages of one image."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_ros.bags.messages import (
    COMPRESSIONS,
    camera_info_message,
    compressed_image_message,
    pose_message,
)
from hyperpose_ros.bags.writer import STORAGES
from hyperpose_ros.common.conversions import rgb_to_image


@dataclass(frozen=True)
class BagLayout:
    """Names in a bag.

    Attributes:
        image_topic: topic of raw images; compressed ones go to `<image_topic>/compressed`.
        camera_info_topic: topic of the camera info.
        pose_topic: topic of the true camera pose.
        camera_frame: the camera's optical frame.
        map_frame: the frame of the true poses.
    """

    image_topic: str = "/camera/image_raw"
    camera_info_topic: str = "/camera/camera_info"
    pose_topic: str = "/ground_truth/pose"
    camera_frame: str = "camera_optical_frame"
    map_frame: str = "map"


@dataclass(frozen=True)
class ImageCoding:
    """How images are put into a bag.

    Attributes:
        compression: "none" for raw rgb8, "jpeg" or "png".
        quality: JPEG quality, 1 to 100.
    """

    compression: str = "none"
    quality: int = 95


def frame_messages(
    record: PosedImage, camera: CameraModel | None, stamp_ns: int, layout: BagLayout, coding: ImageCoding
) -> Iterator[tuple[str, Any]]:
    """Give (topic, message) of one image: camera info where it is known, the true pose, the image last.

    Whoever has the image thus has the rest of its frame, too.

    Raises:
        HyperPoseError: the image cannot be read.
    """
    if camera is not None:
        yield layout.camera_info_topic, camera_info_message(camera, stamp_ns, layout.camera_frame)
    yield layout.pose_topic, pose_message(record.pose, stamp_ns, layout.map_frame)
    if coding.compression == "none":
        yield layout.image_topic, rgb_to_image(record.read(), stamp_ns, layout.camera_frame)
    else:
        yield (
            f"{layout.image_topic}/compressed",
            compressed_image_message(
                record, coding.compression, coding.quality, stamp_ns, layout.camera_frame
            ),
        )


def layout_from(arguments: argparse.Namespace) -> BagLayout:
    """Return the names that the arguments of `add_bag_arguments` give."""
    return BagLayout(
        image_topic=arguments.image_topic,
        camera_info_topic=arguments.camera_info_topic,
        pose_topic=arguments.pose_topic,
        camera_frame=arguments.camera_frame,
        map_frame=arguments.map_frame,
    )


def coding_from(arguments: argparse.Namespace) -> ImageCoding:
    """Return the image coding that the arguments of `add_bag_arguments` give."""
    return ImageCoding(arguments.compression, arguments.jpeg_quality)


def add_bag_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every converter asks about the bag it writes."""
    names = BagLayout()
    bag = parser.add_argument_group("bag")
    bag.add_argument("bag", type=Path, help="folder of the new bag")
    bag.add_argument("--storage", choices=STORAGES, default="mcap", help="file format [mcap]")
    bag.add_argument("--overwrite", action="store_true", help="replace a bag that is already there")
    bag.add_argument(
        "--compression",
        choices=COMPRESSIONS,
        default="none",
        help="none: raw rgb8; jpeg, png: on <image topic>/compressed, such files byte for byte [none]",
    )
    bag.add_argument(
        "--jpeg-quality", type=int, choices=range(1, 101), default=95, metavar="1..100", help="[95]"
    )
    bag.add_argument(
        "--image-topic", default=names.image_topic, metavar="TOPIC", help=f"[{names.image_topic}]"
    )
    bag.add_argument(
        "--camera-info-topic",
        default=names.camera_info_topic,
        metavar="TOPIC",
        help=f"[{names.camera_info_topic}]",
    )
    bag.add_argument(
        "--pose-topic",
        default=names.pose_topic,
        metavar="TOPIC",
        help=f"true camera pose [{names.pose_topic}]",
    )
    bag.add_argument(
        "--camera-frame", default=names.camera_frame, metavar="FRAME", help=f"[{names.camera_frame}]"
    )
    bag.add_argument("--map-frame", default=names.map_frame, metavar="FRAME", help=f"[{names.map_frame}]")
