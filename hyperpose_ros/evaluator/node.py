"""The evaluator: a node that scores a live or replayed localizer against ground truth.

It collects poses while they come and, when they end, writes what `hyperpose evaluate` writes.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from std_srvs.srv import Trigger

from hyperpose_core.command_line import run_command
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation.metrics import score
from hyperpose_core.evaluation.refined_scores import score_refined
from hyperpose_core.evaluation.report import write_report
from hyperpose_core.evaluation.tables import print_table
from hyperpose_ros.common.conversions import covariance_from_message, pose_from_message, stamp_to_nanoseconds
from hyperpose_ros.common.process import spin_once
from hyperpose_ros.evaluator.pose_log import PoseLog
from hyperpose_ros.evaluator.truth_frames import PoseFrames, StandingFrames
from hyperpose_ros.parameters.declaration import declarations
from hyperpose_ros.parameters.evaluator import EvaluatorParameters
from hyperpose_ros.parameters.on_node import NodeParameters
from hyperpose_ros.tf.tree import FrameListener

NODE_NAME = "evaluator"
ESTIMATE_TOPIC = "localizer/pose"
COVARIANCE_TOPIC = "localizer/pose_with_covariance"
VERIFIED_TOPIC = "localizer/verified_pose"
TRUTH_TOPIC = "ground_truth/pose"

EXIT_NOTHING_SCORED = 1

_NANOSECONDS = 1e9
_PAUSE_S = 0.1
# The localizer tells its counters once a second; after the last frame they are waited for so long.
_COUNTERS_TIMEOUT_S = 2.5
_QUEUE = QoSProfile(depth=1000)
_LOCALIZER_STATUS = ": localization"

_DESCRIPTION = """\
Score a localizer against ground truth, live or from a bag, and write the report of `hyperpose evaluate`:
a table on the terminal, results.json, TUM files, plots and report.html. Poses are matched by their stamps;
those in or of other frames are moved by transforms that stand still, or refused.

topics (remap them with --ros-args -r localizer/pose:=/other):
  localizer/pose                   geometry_msgs/PoseStamped: estimates of the camera's pose
  localizer/pose_with_covariance   geometry_msgs/PoseWithCovarianceStamped: their covariances, if any
  localizer/verified_pose          geometry_msgs/PoseWithCovarianceStamped: those that a map verified, if any
  ground_truth/pose                geometry_msgs/PoseStamped, or nav_msgs/Odometry: the camera's true poses
  /diagnostics                     the localizer's own counters, for the report
  /tf, /tf_static                  move true poses of other frames, such as base_link, to the estimates'

It ends, and writes, when nothing has come for idle_timeout after the first true pose, when expected_frames
are matched, on a call of ~/finish (std_srvs/Trigger), or on Ctrl-C.
"""

_EXAMPLE = """\
example:
  evaluator --ros-args -p output_directory:=evaluation/kitchen -p idle_timeout:=5.0
"""


class Evaluator(Node):
    """Collects estimates, true poses and the localizer's counters until the run is over.

    Attributes:
        parameters: the node's parameters.
        log: the poses so far.
    """

    def __init__(self) -> None:
        """Declare the parameters and subscribe.

        Raises:
            HyperPoseError: a parameter has an impossible value.
        """
        super().__init__(NODE_NAME)
        self.parameters = NodeParameters(self, EvaluatorParameters).values
        self.log = PoseLog(round(self.parameters.match_tolerance * _NANOSECONDS))
        self._frames = PoseFrames(self.parameters.camera_frame)
        self._standing = StandingFrames()
        self._listener = FrameListener(self, self._standing, on_moving=lambda transform: None)
        self._counters: dict[str, str] = {}
        # Whose poses these are by their topic's name; a remapped one may not say.
        self._scored_node = self.resolve_topic_name(ESTIMATE_TOPIC).strip("/").rpartition("/")[0]
        self._heard_scored_node = False
        self._started = self._last_pose = time.monotonic()
        self._complete_since: float | None = None
        self._finish_requested = False
        with_odometry = self.parameters.ground_truth_type == "odometry"
        self._subscribe(PoseStamped, ESTIMATE_TOPIC, self._on_estimate)
        self._subscribe(PoseWithCovarianceStamped, COVARIANCE_TOPIC, self._on_covariance)
        self._subscribe(PoseWithCovarianceStamped, VERIFIED_TOPIC, self._on_verified)
        self._subscribe(Odometry if with_odometry else PoseStamped, TRUTH_TOPIC, self._on_truth)
        self._subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics)
        self.create_service(Trigger, "~/finish", self._on_finish)

    def finish(self) -> None:
        """Ask the run to end."""
        self._finish_requested = True

    def is_over(self) -> bool:
        """Tell whether the run has ended."""
        now = time.monotonic()
        if self._finish_requested:
            return True
        if not self.log.has_truth:
            return 0 < self.parameters.start_timeout < now - self._started
        return now - self._last_pose > self.parameters.idle_timeout or self._is_complete(now)

    def report_metadata(self) -> Mapping[str, object]:
        """Return what was scored, for the report: counts of poses and the localizer's own counters."""
        metadata: dict[str, object] = {
            "estimates_from": self.resolve_topic_name(ESTIMATE_TOPIC),
            "ground_truth_from": self.resolve_topic_name(TRUTH_TOPIC),
            "match_tolerance_s": self.parameters.match_tolerance,
            **asdict(self.log.counts()),
        }
        for name in ("received", "published", "withheld", "refused", "dropped"):
            if self._counters.get(name, "").isdecimal():
                metadata[f"frames_{name}"] = int(self._counters[name])
        return {**metadata, "localizer": self._counters} if self._counters else metadata

    def _subscribe(self, message_type: type, topic: str, callback: Callable[[Any], None]) -> None:
        overridable = QoSOverridingOptions.with_default_policies()
        self.create_subscription(message_type, topic, callback, _QUEUE, qos_overriding_options=overridable)

    def _is_complete(self, now: float) -> bool:
        expected = self.parameters.expected_frames
        if not expected or self.log.counts().frames_scored < expected:
            return False
        if self._complete_since is None:
            self._complete_since = now
            self._counters = {}
        return bool(self._counters) or now - self._complete_since > _COUNTERS_TIMEOUT_S

    def move_truths(self) -> None:
        """Bring the true poses to the frames of the estimates.

        Raises:
            HyperPoseError: they are in or of other frames, and TF does not say where these are.
        """
        self.log.move_truths(*self._frames.moves(self._standing))

    def _on_estimate(self, message: PoseStamped) -> None:
        self._frames.add_estimate(message.header.frame_id)
        self._add(self.log.add_estimate, message, message.pose, "an estimate")

    def _on_truth(self, message: Any) -> None:
        pose = message.pose.pose if isinstance(message, Odometry) else message.pose
        self._frames.add_truth(message.header.frame_id, getattr(message, "child_frame_id", ""))
        self._add(self.log.add_truth, message, pose, "a true pose")

    def _add(self, add: Callable[[int, Any], None], message: Any, pose: Any, name: str) -> None:
        self._last_pose = time.monotonic()
        try:
            add(stamp_to_nanoseconds(message.header.stamp), pose_from_message(pose))
        except ValueError as error:
            self.get_logger().warning(f"{name} is left out: {error}", throttle_duration_sec=5.0)

    def _on_covariance(self, message: PoseWithCovarianceStamped) -> None:
        covariance = covariance_from_message(message.pose.covariance)
        # All zeros stand for "unknown" in ROS.
        if covariance.any():
            self.log.add_covariance(stamp_to_nanoseconds(message.header.stamp), covariance)

    def _on_verified(self, message: PoseWithCovarianceStamped) -> None:
        covariance = covariance_from_message(message.pose.covariance)
        add = partial(self.log.add_verified, covariance=covariance)
        self._add(add, message, message.pose.pose, "a verified pose")

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {item.key: item.value for item in status.values}
            counts = [values.get(name, "") for name in ("received", "published", "dropped")]
            if not status.name.endswith(_LOCALIZER_STATUS) or not all(map(str.isdecimal, counts)):
                continue  # other nodes have counters, too
            is_scored = status.name.removesuffix(_LOCALIZER_STATUS) == self._scored_node
            if is_scored or not self._heard_scored_node:
                self._counters, self._heard_scored_node = values, is_scored

    def _on_finish(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        frames = self.log.counts().frames_scored
        response.success = frames > 0
        response.message = f"{frames} frames to score in {self.parameters.output_directory}"
        self.finish()
        return response


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until the run is over and the report is written.

    Args:
        arguments: the command line without the program's name; None for the process's own.

    Returns:
        0 with a report written; 1 where there was nothing to score, with one line saying why; 2 for a wrong
        parameter, a folder that cannot be written, or poses in frames that TF does not connect.
    """
    command_line = list(sys.argv[1:] if arguments is None else arguments)
    _parser().parse_args(remove_ros_args(command_line))
    # A signal asks for the report; rclpy's own handler would pull the context from under the node.
    rclpy.init(args=command_line, signal_handler_options=SignalHandlerOptions.NO)
    try:
        return run_command(NODE_NAME, _run)
    finally:
        rclpy.shutdown()


def _run() -> int:
    evaluator = Evaluator()
    executor = SingleThreadedExecutor()
    try:
        _check_folder(Path(evaluator.parameters.output_directory))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: evaluator.finish())
        executor.add_node(evaluator)
        while not evaluator.is_over():
            _spin(executor, evaluator, _PAUSE_S)
        # Whoever ends the run may do so while the last poses are still in the queues.
        _spin(executor, evaluator, _PAUSE_S)
        return _write(evaluator)
    finally:
        executor.shutdown()
        evaluator.destroy_node()


def _spin(executor: Executor, evaluator: Evaluator, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (remaining := end - time.monotonic()) > 0:
        spin_once(executor, evaluator, remaining)


def _check_folder(path: Path) -> None:
    """Try to write where the report will be: noticed at the end, the whole run would be lost."""
    nearest = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise HyperPoseError(
            f"parameter output_directory: {path} cannot be written: {error.strerror}"
        ) from error


def _write(evaluator: Evaluator) -> int:
    parameters = evaluator.parameters
    if evaluator.log.counts().frames_scored == 0:
        print(f"{NODE_NAME}: nothing to score: {evaluator.log.reason_for_nothing()}", file=sys.stderr)
        return EXIT_NOTHING_SCORED
    evaluator.move_truths()
    comparison = evaluator.log.comparison(parameters.count_unanswered)
    refined = evaluator.log.refined(parameters.count_unanswered)
    report = write_report(
        Path(parameters.output_directory),
        comparison,
        title=parameters.title,
        metadata=evaluator.report_metadata(),
        refined=refined,
    )
    print_table(score(comparison), refined=None if refined is None else score_refined(refined))
    counts = evaluator.log.counts()
    print(
        f"\n{counts.frames_scored} frames scored; {counts.truths_without_estimate} true poses without an "
        f"estimate, {counts.estimates_without_truth} estimates without a true pose"
    )
    print(f"report: {report}")
    return 0


def _parser() -> argparse.ArgumentParser:
    every = declarations(EvaluatorParameters)
    lines = [f"  {item.name} [{item.default}]\n      {item.description}" for item in every]
    return argparse.ArgumentParser(
        prog=NODE_NAME,
        description=_DESCRIPTION,
        epilog="\n".join(["parameters (--ros-args -p name:=value):", *lines, "", _EXAMPLE]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


if __name__ == "__main__":
    sys.exit(main())
