"""`bag_player`: replays a rosbag2 bag through rclpy, for machines without `ros2 bag play`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

import rclpy
from rclpy.signals import SignalHandlerOptions

from hyperpose_core.command_line import run_command
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.untrusted import reading
from hyperpose_ros.bags.reader import BagReader
from hyperpose_ros.bags.replay import BagReplay, ReplayOptions, ReplaySummary
from hyperpose_ros.bags.tool import number_from_zero, positive_count, positive_number, split_ros_arguments

_NAME = "bag_player"

_EXAMPLES = """\
examples:
  Play a bag in real time, once the localizer listens to its images:
    bag_player run.bag --clock --wait-for-subscribers /camera/image_raw

  On a machine too slow for real time, drop nothing: the next image waits for the last one's pose.
    bag_player run.bag --rate 10 --in-step-with /localizer/pose

  Ten seconds of one topic, under another name, again and again:
    bag_player run.bag --topics /image_raw --remap /image_raw:=/image --start 5 --duration 10 --loop
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `bag_player` and return its exit code: 0, 2 after a user's mistake, 130 after Ctrl-C.

    Args:
        arguments: the command line without the program's name; None for the process's own.
    """
    command_line = list(sys.argv[1:] if arguments is None else arguments)
    own, ros = split_ros_arguments(command_line)
    parsed = _parser().parse_args(own)
    return run_command(_NAME, lambda: _replay(parsed, ros))


def _replay(arguments: argparse.Namespace, ros_arguments: list[str]) -> int:
    options = _options(arguments)
    # Ctrl-C must end the replay as an exception; rclpy's own handler would pull the context from under it.
    # What a script puts into the background inherits an ignored SIGINT; a node ends on it all the same.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with reading("--ros-args", "list of arguments"):
        rclpy.init(args=ros_arguments, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node(_NAME)
    try:
        with BagReader(arguments.bag) as bag, BagReplay(node, bag, options, _remark) as replay:
            replay.wait()
            _print_summary(replay.run())
    finally:
        node.destroy_node()
        rclpy.shutdown()
    return 0


def _options(arguments: argparse.Namespace) -> ReplayOptions:
    waited = arguments.wait_for_subscribers
    return ReplayOptions(
        rate=arguments.rate,
        clock_hz=arguments.clock,
        topics=tuple(arguments.topics),
        remaps=_remaps(arguments.remap),
        start_s=arguments.start,
        duration_s=arguments.duration,
        loop=arguments.loop,
        reliable=arguments.reliable,
        wait_for_subscribers=None if waited is None else tuple(waited),
        wait_timeout_s=arguments.wait_timeout,
        in_step_with=arguments.in_step_with,
        answers=arguments.answers,
        in_flight=arguments.in_flight,
        step_timeout_s=arguments.step_timeout,
    )


def _remaps(texts: Sequence[str]) -> dict[str, str]:
    remaps = [_split_remap(text) for text in texts]
    for place, (source, _) in enumerate(remaps):
        if source in (earlier for earlier, _ in remaps[:place]):
            raise HyperPoseError(f"--remap: {source} is given two names")
    return dict(remaps)


def _split_remap(text: str) -> tuple[str, str]:
    source, separator, target = text.partition(":=")
    if not (source and separator and target):
        raise HyperPoseError(f"--remap {text}: expected /topic_in_the_bag:=/topic_to_publish")
    return source, target


def _print_summary(summary: ReplaySummary) -> None:
    for topic, count in summary.published.items():
        print(f"{count:7d}  {topic}")
    if summary.unanswered:
        _remark(f"images that got no answer in time: {summary.unanswered}")
    for topic in summary.undelivered:
        _remark(f"a subscriber of {topic} has not confirmed its last messages")
    print(f"replayed {sum(summary.published.values())} messages in {summary.seconds:.1f} s")


def _remark(text: str) -> None:
    print(f"{_NAME}: {text}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_NAME,
        description="Replay a rosbag2 bag (MCAP or sqlite3) over ROS 2. Needs rclpy, but no `ros2 bag play`.",
        epilog=_EXAMPLES + "\n--ros-args ... is passed on to ROS.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bag", help="the bag's folder, or a single .mcap or .db3 file")
    parser.add_argument(
        "--rate", type=positive_number, default=1.0, metavar="R", help="recorded seconds a second [1]"
    )
    parser.add_argument(
        "--clock",
        type=positive_number,
        nargs="?",
        default=0.0,
        const=40.0,
        metavar="HZ",
        help="publish the bag's time on /clock, before every message and HZ times a second [40]; "
        "for nodes with use_sim_time",
    )
    parser.add_argument("--topics", nargs="+", default=[], metavar="TOPIC", help="play these topics only")
    parser.add_argument(
        "--remap",
        nargs="+",
        default=[],
        metavar="OLD:=NEW",
        help="publish a topic of the bag under another name",
    )
    parser.add_argument(
        "--start", type=number_from_zero, default=0.0, metavar="S", help="leave out the first S seconds"
    )
    parser.add_argument(
        "--duration", type=positive_number, metavar="S", help="play S seconds of the bag only"
    )
    parser.add_argument("--loop", action="store_true", help="start again at the end, until Ctrl-C")
    parser.add_argument(
        "--reliable",
        action="store_true",
        help="offer reliable delivery even for topics recorded as best effort; "
        "Fast DDS loses most large images that go best effort",
    )
    _add_waiting(parser)
    return parser


def _add_waiting(parser: argparse.ArgumentParser) -> None:
    waiting = parser.add_argument_group("waiting for others")
    waiting.add_argument(
        "--wait-for-subscribers",
        nargs="*",
        metavar="TOPIC",
        help="start when each TOPIC has a subscriber; without TOPIC: each image topic",
    )
    waiting.add_argument(
        "--wait-timeout", type=positive_number, default=30.0, metavar="S", help="give up after S seconds [30]"
    )
    waiting.add_argument(
        "--in-step-with",
        default="",
        metavar="TOPIC",
        help="hold every image back until TOPIC has brought a message with the previous image's stamp; "
        "the rest of the bag (and /clock) waits with it, so nothing is dropped however slow the machine",
    )
    waiting.add_argument(
        "--answers",
        type=positive_count,
        default=1,
        metavar="N",
        help="with --in-step-with: an image is answered by N messages with its stamp; 2 of "
        "/localizer/status are the network's and its landmark map's [1]",
    )
    waiting.add_argument(
        "--in-flight",
        type=positive_count,
        default=1,
        metavar="N",
        help="with --in-step-with: N images on the way [1]",
    )
    waiting.add_argument(
        "--step-timeout",
        type=positive_number,
        default=10.0,
        metavar="S",
        help="with --in-step-with: go on without an answer after S seconds [10]",
    )


if __name__ == "__main__":
    sys.exit(main())
