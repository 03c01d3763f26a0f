"""`hyperpose benchmark`: how long things take on this machine. Its help needs neither ROS nor torch."""

from __future__ import annotations

import argparse
import os
import re
from importlib.util import find_spec
from pathlib import Path

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.large_imports import import_large

SUMMARY = "say how long things take on this machine"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser("benchmark", description="Say how long things take on this machine.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    node = actions.add_parser(
        "node",
        help="trace the way from an image message to its pose through the localizer",
        description="Start the localizer and a camera in processes of their own, trace every frame from its "
        "publication to its pose's, stage by stage, and set beside it how long the bare network takes, "
        "measured in turns with the node. Needs ROS 2 (rclpy).",
    )
    _add_node_arguments(node)
    node.set_defaults(run=run_node)


def _add_node_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="a .safetensors checkpoint, or an exported .onnx file")
    parser.add_argument(
        "--size",
        type=_size,
        default=(640, 480),
        metavar="WxH",
        help="of the images, pixels (default: 640x480)",
    )
    parser.add_argument("--rate", type=_positive, default=30.0, help="images a second (default: 30)")
    parser.add_argument("--seconds", type=_positive, default=20.0, help="of images, in all (default: 20)")
    parser.add_argument(
        "--transport", choices=["raw", "compressed"], default="raw", help="rgb8 or JPEG images (default: raw)"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="CPU threads of the network (default: 0, one a core)"
    )
    parser.add_argument("--device", default="auto", help="as the localizer's parameter (default: auto)")
    parser.add_argument("--engine", default="auto", help="likewise (default: auto)")
    parser.add_argument("--precision", default="auto", help="likewise (default: auto)")
    parser.add_argument(
        "--map",
        type=Path,
        metavar="FILE",
        help="landmark map that the localizer verifies its poses with meanwhile: what that costs the "
        "network's (default: none)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")


def run_node(arguments: argparse.Namespace) -> int:
    """Measure the localizer as the arguments say, and print what was found.

    Raises:
        HyperPoseError: ROS 2 is missing, the checkpoint is wrong, or the localizer did not start.
    """
    if find_spec("rclpy") is None:
        raise HyperPoseError("`hyperpose benchmark node` needs ROS 2: rclpy cannot be imported here")
    # Read when torch is imported: threads must not spin while other processes wait for the core.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import_large("hyperpose_ros.benchmark.run")
    from hyperpose_ros.benchmark.report import format_json, format_table
    from hyperpose_ros.benchmark.run import NodeBenchmarkSettings, run_node_benchmark

    settings = NodeBenchmarkSettings(
        checkpoint=arguments.checkpoint,
        width=arguments.size[0],
        height=arguments.size[1],
        **{
            name: getattr(arguments, name)
            for name in ("rate", "seconds", "transport", "device", "engine", "precision", "threads", "map")
        },
    )
    measured = run_node_benchmark(settings)
    print(format_json(measured) if arguments.json else format_table(measured))
    return 0


def _size(text: str) -> tuple[int, int]:
    """Read "640x480" as (width, height)."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 640x480")
    return int(found[1]), int(found[2])


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value
