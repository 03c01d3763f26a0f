"""`robotcar_to_bag`: writes a run of the Oxford RobotCar dataset as a rosbag2 bag."""

from __future__ import annotations

import argparse
import heapq
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from hyperpose_core.checkpoint.file import load_checkpoint
from hyperpose_core.command_line import run_command
from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.datasets.robotcar_runs import POSE_SOURCES, RobotCarRun, load_run, run_names
from hyperpose_core.datasets.robotcar_sdk import CAMERAS
from hyperpose_core.errors import HyperPoseError
from hyperpose_ros.bags.layout import (
    BagLayout,
    ImageCoding,
    add_bag_arguments,
    coding_from,
    frame_messages,
    layout_from,
)
from hyperpose_ros.bags.robotcar_messages import (
    TF_STATIC_TOPIC,
    BagEntry,
    extrinsics_message,
    gps_entries,
    ins_entries,
    vo_entries,
)
from hyperpose_ros.bags.tool import number_from_zero
from hyperpose_ros.bags.writer import BagWriter

_NAME = "robotcar_to_bag"
_NANOSECONDS = 1_000_000_000
# Odometry and GPS go on for this long before the first and after the last image.
_MARGIN_NS = _NANOSECONDS

_DESCRIPTION = """\
Write a run of the Oxford RobotCar dataset, or of a simulation in its layout, as a rosbag2 bag. Stamps are the
dataset's own. The bag holds

  /camera/image_raw     debayered images (or /camera/image_raw/compressed)
  /camera/camera_info   the camera's pinhole model
  /ground_truth/pose    true pose of the camera's optical frame, in map (local east-north-up)
  /ins/odometry         base_link in map, from the good INS rows; twist in base_link
  /vo/odometry          base_link in odom, from visual odometry; twist in base_link
  /gps/fix              GPS fixes
  /tf_static            base_link -> camera optical frame, base_link -> ins

base_link has no parent in the bag: a localizer that knows the camera's extrinsics publishes map -> base_link.
`camera_extrinsics BAG` prints them in the form of its parameters.
"""

_EXAMPLES = """\
example:
  robotcar_to_bag loop1_bag --data robotcar --run 2014-06-23-15-36-04 --checkpoint loop.safetensors
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `robotcar_to_bag` and return its exit code: 0, 2 after a user's mistake, 130 after Ctrl-C.

    Args:
        arguments: the command line without the program's name; None for the process's own.
    """
    parsed = _parser().parse_args(arguments)
    return run_command(_NAME, lambda: _convert(parsed))


def write_run(run: RobotCarRun, writer: BagWriter, layout: BagLayout, coding: ImageCoding) -> None:
    """Write a run to a bag in the order of time, one image in memory at a time.

    Args:
        run: what to write.
        writer: an open bag.
        layout: topics and frames.
        coding: raw or compressed images.

    Raises:
        HyperPoseError: an image cannot be read, or the bag cannot be written.
    """
    first_ns = int(run.stamps_ns[0]) - _MARGIN_NS
    last_ns = int(run.stamps_ns[-1]) + _MARGIN_NS
    logs = [
        _between(entries, first_ns, last_ns)
        for entries in (ins_entries(run, layout.map_frame), vo_entries(run), gps_entries(run))
    ]
    extrinsics = (first_ns, TF_STATIC_TOPIC, extrinsics_message(run, layout.camera_frame, first_ns))
    with tqdm(total=len(run.stamps_ns), desc="bag", unit="image") as progress:
        images = _image_entries(run, layout, coding, progress.update)
        for stamp_ns, topic, message in heapq.merge([extrinsics], *logs, images, key=_stamp_of):
            writer.write(topic, message, stamp_ns)


def _image_entries(
    run: RobotCarRun, layout: BagLayout, coding: ImageCoding, done: Callable[[], object]
) -> Iterator[BagEntry]:
    for stamp_ns, path, pose in zip(run.stamps_ns.tolist(), run.image_paths, run.camera_poses, strict=True):
        record = PosedImage(path=path, pose=pose, scene=run.date, reader=run.reader)
        for topic, message in frame_messages(record, run.camera, stamp_ns, layout, coding):
            yield stamp_ns, topic, message
        done()


def _between(entries: Iterable[BagEntry], first_ns: int, last_ns: int) -> Iterator[BagEntry]:
    return (entry for entry in entries if first_ns <= entry[0] <= last_ns)


def _stamp_of(entry: BagEntry) -> int:
    return entry[0]


def _convert(arguments: argparse.Namespace) -> int:
    run = load_run(
        arguments.data,
        _run_name(arguments.data, arguments.run),
        camera=arguments.camera,
        sdk=arguments.sdk,
        pose_source=arguments.pose_source,
        origin=_origin(arguments),
        start=arguments.start,
        end=arguments.end,
        undistort=not arguments.distorted,
    )
    with BagWriter(arguments.bag, arguments.storage, arguments.overwrite) as writer:
        write_run(run, writer, layout_from(arguments), coding_from(arguments))
    _print_summary(arguments.bag, run)
    return 0


def _run_name(root: Path, name: str | None) -> str:
    if name is not None:
        return name
    names = run_names(root)
    if len(names) != 1:
        found = ", ".join(names) or "none"
        raise HyperPoseError(f"{root}: name one of its runs with --run; runs found: {found}")
    return names[0]


def _origin(arguments: argparse.Namespace) -> Sequence[float] | None:
    if arguments.checkpoint is None:
        return arguments.origin
    world = load_checkpoint(arguments.checkpoint).world
    if world.utm_zone is None:
        raise HyperPoseError(f"{arguments.checkpoint}: was not trained in a UTM world, so it gives no origin")
    return world.origin.tolist()


def _print_summary(bag: Path, run: RobotCarRun) -> None:
    seconds = (run.stamps_ns[-1] - run.stamps_ns[0]) / _NANOSECONDS
    print(f"{bag}: {len(run.stamps_ns)} images, {seconds:.1f} s, from {run.folder}")
    for cause, count in run.dropped.items():
        print(f"  left out: {cause}: {count}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_NAME,
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_bag_arguments(parser)
    data = parser.add_argument_group("data")
    data.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="the dataset's folder")
    data.add_argument("--run", metavar="DATE", help="the run's folder in it [the only one]")
    data.add_argument("--camera", choices=tuple(CAMERAS), default="stereo_centre", help="[stereo_centre]")
    data.add_argument(
        "--sdk",
        type=Path,
        metavar="FOLDER",
        help="the SDK with extrinsics/ and models/ [sdk, in --data or beside it]",
    )
    data.add_argument(
        "--pose-source", choices=POSE_SOURCES, default="ins", help="where true poses come from [ins]"
    )
    data.add_argument("--start", type=number_from_zero, metavar="S", help="leave out images before S seconds")
    data.add_argument("--end", type=number_from_zero, metavar="S", help="leave out images after S seconds")
    data.add_argument("--distorted", action="store_true", help="do not undistort images")
    origin = data.add_mutually_exclusive_group()
    origin.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="put the map's origin where this network's world has it",
    )
    origin.add_argument(
        "--origin",
        type=float,
        nargs=3,
        metavar=("EASTING", "NORTHING", "UP"),
        help="put the map's origin here, metres [near the start of the folder's first run]",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
