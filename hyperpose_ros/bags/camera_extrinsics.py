"""`camera_extrinsics`: finds a camera's place on the robot in a bag's /tf_static, for the localizer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hyperpose_core.command_line import run_command
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import replace_text
from hyperpose_core.geometry.frame_chains import frame_name, pose_in
from hyperpose_core.geometry.poses import Pose
from hyperpose_ros.bags.reader import IMAGE_TYPES, BagReader
from hyperpose_ros.common.conversions import transform_from_message

_NAME = "camera_extrinsics"
_TF_STATIC = "/tf_static"

_DESCRIPTION = """\
Print the localizer's parameters base_frame and camera_extrinsics as a bag's /tf_static has them, in the form
of a ROS 2 parameter file. The camera is the frame of the bag's images.
"""

_EXAMPLES = """\
example:
  camera_extrinsics run.bag --output extrinsics.yaml
  localizer --ros-args --params-file extrinsics.yaml -p checkpoint:=loop.safetensors
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `camera_extrinsics` and return its exit code: 0, 2 after a user's mistake, 130 after Ctrl-C.

    Args:
        arguments: the command line without the program's name; None for the process's own.
    """
    parsed = _parser().parse_args(arguments)
    return run_command(_NAME, lambda: _print_extrinsics(parsed))


def read_extrinsics(bag: BagReader, base_frame: str, camera_frame: str | None = None) -> Pose:
    """Return a camera's pose in the robot's body frame, from the static transforms of a bag.

    Args:
        bag: an open bag.
        base_frame: the robot's body frame.
        camera_frame: the camera's optical frame; None for the frame of the bag's images.

    Raises:
        HyperPoseError: the bag has no static transforms, no image, or no chain of transforms between the two.
    """
    camera_frame = camera_frame or _frame_of_images(bag)
    parents: dict[str, str] = {}
    placements: dict[str, Pose] = {}
    bag.require(_TF_STATIC)
    for _, _, message in bag.messages([_TF_STATIC]):
        for transform in message.transforms:
            child = frame_name(transform.child_frame_id)
            try:
                placements[child] = transform_from_message(transform)
            except ValueError as error:
                raise HyperPoseError(f"{bag.path}: {_TF_STATIC}: {child}: {error}") from error
            parents[child] = frame_name(transform.header.frame_id)
    pose = pose_in(parents, base_frame, camera_frame, placements.__getitem__)
    if pose is None:
        pairs = ", ".join(f"{parent} -> {child}" for child, parent in parents.items())
        raise HyperPoseError(
            f"{bag.path}: {_TF_STATIC} does not lead from {base_frame} to {camera_frame}: {pairs}"
        )
    return pose


def _frame_of_images(bag: BagReader) -> str:
    topics = [topic.name for topic in bag.topics.values() if topic.type_name in IMAGE_TYPES]
    for _, _, image in bag.messages(topics) if topics else ():
        return str(image.header.frame_id)
    raise HyperPoseError(f"{bag.path}: holds no image, which would name its camera; give --camera-frame")


def _print_extrinsics(arguments: argparse.Namespace) -> int:
    with BagReader(arguments.bag) as bag:
        pose = read_extrinsics(bag, arguments.base_frame, arguments.camera_frame)
    w, x, y, z = pose.orientation
    numbers = ", ".join(f"{float(number):.9f}" for number in (*pose.position, x, y, z, w))
    text = (
        "/**:\n"
        "  ros__parameters:\n"
        f'    base_frame: "{arguments.base_frame}"\n'
        "    # x, y, z, qx, qy, qz, qw of the camera's optical frame in base_frame\n"
        f"    camera_extrinsics: [{numbers}]\n"
    )
    if arguments.output is None:
        print(text, end="")
        return 0
    replace_text(arguments.output, text, "parameters")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_NAME,
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bag", type=Path, help="the bag's folder, or a single .mcap or .db3 file")
    parser.add_argument(
        "--base-frame", default="base_link", metavar="FRAME", help="the robot's body frame [base_link]"
    )
    parser.add_argument(
        "--camera-frame", metavar="FRAME", help="the camera's optical frame [that of the bag's images]"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there instead of to the terminal")
    return parser


if __name__ == "__main__":
    sys.exit(main())
