"""`dataset_to_bag`: writes any dataset that an adapter reads as a rosbag2 bag."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tqdm import tqdm

from hyperpose_core.cli.arguments.common import add_dataset_arguments
from hyperpose_core.cli.common import open_dataset_from
from hyperpose_core.command_line import run_command
from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.errors import HyperPoseError
from hyperpose_ros.bags.layout import (
    BagLayout,
    ImageCoding,
    add_bag_arguments,
    coding_from,
    frame_messages,
    layout_from,
)
from hyperpose_ros.bags.tool import positive_number
from hyperpose_ros.bags.writer import BagWriter

_NAME = "dataset_to_bag"
_NANOSECONDS = 1_000_000_000
_DEFAULT_RATE = 10.0
_DEFAULT_START_S = 1.0

_EXAMPLES = """\
examples:
  The test frames of 7Scenes' red kitchen, ten a second, for `bag_player` or `ros2 bag play`:
    dataset_to_bag kitchen_bag --data redkitchen_test.csv --split test --rate 10

  The same, small on disk: JPEG files go in as they are, on /camera/image_raw/compressed:
    dataset_to_bag kitchen_bag --data redkitchen_test.csv --split test --compression jpeg
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `dataset_to_bag` and return its exit code: 0, 2 after a user's mistake, 130 after Ctrl-C.

    Args:
        arguments: the command line without the program's name; None for the process's own.
    """
    parsed = _parser().parse_args(arguments)
    return run_command(_NAME, lambda: _convert(parsed))


def write_dataset(
    dataset: PosedImageSet,
    writer: BagWriter,
    stamps_ns: Sequence[int],
    layout: BagLayout,
    coding: ImageCoding,
) -> None:
    """Write a dataset's images, camera info and true poses to a bag, one image in memory at a time.

    Args:
        dataset: what to write.
        writer: an open bag.
        stamps_ns: the images' stamps, nanoseconds.
        layout: topics and frames.
        coding: raw or compressed.

    Raises:
        HyperPoseError: an image cannot be read, or the bag cannot be written.
    """
    frames = sorted(zip(stamps_ns, dataset.images, strict=True), key=lambda frame: frame[0])
    for stamp_ns, record in tqdm(frames, desc="bag", unit="image"):
        for topic, message in frame_messages(record, dataset.camera, stamp_ns, layout, coding):
            writer.write(topic, message, stamp_ns)


def frame_stamps(images: Sequence[PosedImage], rate: float | None, start_s: float | None) -> list[int]:
    """Return the images' stamps in nanoseconds.

    Args:
        images: a dataset's images.
        rate: images a second, for made-up stamps; None for the dataset's own, or 10 where it has none.
        start_s: the first image's time, seconds. None for the dataset's own, or 1 where that isn't above
            zero: to ROS, zero is no time.

    Raises:
        HyperPoseError: two images have the same stamp.
    """
    own = [image.stamp_ns for image in images if image.stamp_ns is not None]
    if rate is None and len(own) == len(images):
        stamps = own
    else:
        period = _NANOSECONDS / (rate or _DEFAULT_RATE)
        stamps = [round(index * period) for index in range(len(images))]
    first = min(stamps, default=0)
    if start_s is not None or first <= 0:
        shift = round((_DEFAULT_START_S if start_s is None else start_s) * _NANOSECONDS) - first
        stamps = [stamp + shift for stamp in stamps]
    _check_distinct(images, stamps)
    return stamps


def _check_distinct(images: Sequence[PosedImage], stamps: Sequence[int]) -> None:
    seen: dict[int, PosedImage] = {}
    for image, stamp in zip(images, stamps, strict=True):
        if stamp in seen:
            raise HyperPoseError(
                f"{image.path} and {seen[stamp].path} have the same stamp, {stamp} ns; use --rate"
            )
        seen[stamp] = image


def _convert(arguments: argparse.Namespace) -> int:
    dataset = open_dataset_from(arguments)
    stamps = frame_stamps(dataset.images, arguments.rate, arguments.start_time)
    with BagWriter(arguments.bag, arguments.storage, arguments.overwrite) as writer:
        write_dataset(dataset, writer, stamps, layout_from(arguments), coding_from(arguments))
    seconds = (max(stamps) - min(stamps)) / _NANOSECONDS
    print(f"{arguments.bag}: {len(stamps)} images, {seconds:.1f} s, from {dataset.name}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_NAME,
        description="Write a dataset as a rosbag2 bag: images, camera info if known, true camera poses.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_bag_arguments(parser)
    add_dataset_arguments(parser, split=None)
    time = parser.add_argument_group("time")
    time.add_argument(
        "--rate",
        type=positive_number,
        metavar="HZ",
        help="make up stamps at HZ images a second, in the dataset's order "
        f"[the dataset's own stamps; {_DEFAULT_RATE:g} where it has none]",
    )
    time.add_argument(
        "--start-time",
        type=positive_number,
        metavar="S",
        help="the first image's time, seconds [the dataset's]",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
