"""What a node holds from configuration to cleanup, and what runs between activation and deactivation.

Its imports take a while: the node imports this module when it is configured, so that before that it is
already visible, and ends at once when it is told to.
"""

from __future__ import annotations

import functools
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from rclpy.lifecycle import LifecycleNode

from hyperpose_core.checkpoint.place import checkpoint_of_place
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.inference.adaptation import adapt
from hyperpose_core.inference.estimator import is_exported
from hyperpose_core.refinement.checkpoint_map import map_beside
from hyperpose_ros.common.throttled_warnings import ThrottledWarnings
from hyperpose_ros.fusion.locator import Locator
from hyperpose_ros.fusion.validity import PoseValidator
from hyperpose_ros.images.camera_info import CameraCalibrations
from hyperpose_ros.images.cameras import declare_cameras, read_cameras
from hyperpose_ros.images.counters import FrameAccounts, FrameLedger, LatencyRecorder
from hyperpose_ros.images.inbox import Inbox, InboxLimits
from hyperpose_ros.images.intake import Intake
from hyperpose_ros.images.subscription import ImageSubscription
from hyperpose_ros.localizer.diagnostics import SessionHealth
from hyperpose_ros.localizer.estimator_slot import EstimatorSlot, LoadedCheckpoint
from hyperpose_ros.localizer.initial_pose import InitialPosePublisher
from hyperpose_ros.localizer.loaded_map import LoadedMap
from hyperpose_ros.localizer.map_localizer import MapLocalizer
from hyperpose_ros.localizer.network_localizer import NetworkLocalizer
from hyperpose_ros.localizer.publishers import EstimatePublishers
from hyperpose_ros.localizer.refinement import RefinementHealth, RefinementThread
from hyperpose_ros.localizer.relocalization import Relocalization
from hyperpose_ros.localizer.worker import InferenceThread, Worker
from hyperpose_ros.parameters.localizer import LocalizerParameters
from hyperpose_ros.parameters.on_node import NodeParameters
from hyperpose_ros.tf.frames import RobotFrames


class Session:
    """The loaded network with its inbox, worker and topics."""

    def __init__(
        self,
        node: LifecycleNode,
        parameters: NodeParameters[LocalizerParameters],
        ledger: FrameLedger,
        latencies: LatencyRecorder,
    ) -> None:
        """Check the parameters, load the checkpoint, warm the network up and create the output topics.

        Raises:
            HyperPoseError: a parameter, the checkpoint or the device is wrong.
        """
        values = parameters.values
        checkpoint = _checkpoint_path(values)
        declare_cameras(parameters)
        self._cameras = read_cameras(values, parameters.value)
        self._node = node
        self._parameters = parameters
        warnings = ThrottledWarnings(node.get_logger())
        accounts = FrameAccounts(ledger, latencies, warnings)
        self._inbox = _create_inbox(node, parameters, ledger, len(self._cameras))
        extrinsics = [camera.extrinsics for camera in self._cameras]
        self._frames = RobotFrames(node, lambda: parameters.values, extrinsics, warnings)
        self._thread = InferenceThread()
        try:
            loaded = self._thread.load(checkpoint, *_way_of_running(values), len(self._cameras))
            self._publishers = EstimatePublishers(
                node, self._frames, lambda: parameters.values.path_length, values.refinement != "off"
            )
        except Exception:
            self._thread.stop()
            self._frames.destroy()
            raise
        self._map_problem = ""
        self._slot = EstimatorSlot(self._with_map_if_possible(loaded))
        self._validator = PoseValidator(
            loaded.estimator.checkpoint, lambda: parameters.values, self._frames.odometry
        )
        self._initial_pose = InitialPosePublisher(node, self._frames.plan.map_frame)
        self.relocalization = Relocalization(
            lambda: parameters.values, self._frames.odometry, self._initial_pose, node.get_logger().info
        )
        self._calibrations: CameraCalibrations | None = None
        if values.use_camera_info:
            self._calibrations = CameraCalibrations(
                node, self._cameras, lambda: parameters.values.field_of_view_margin_deg, warnings
            )
        locator = Locator(self._frames.plan, self._cameras, self._frames.policy.pose_of)
        localizer = NetworkLocalizer(self._slot, self._calibrations, locator, self._validator)
        self._refinement = self._create_refinement(locator, warnings)
        self._worker = Worker(
            self._inbox, localizer, self._publishers, accounts, self.relocalization, self._refinement
        )
        self._intake = Intake(self._cameras, self._calibrations, self._inbox, accounts)
        self._run: Future[None] | None = None
        self._end = ""
        self._subscriptions: list[ImageSubscription] = []
        self._adapt_engine(self.loaded)
        node.get_logger().info(f"{self.loaded.describe()}; /tf: {self._frames.policy.describe()}")

    def activate(self) -> None:
        """Subscribe and begin to work."""
        values = self._parameters.values
        self._end = ""
        self.relocalization.begin_anew()
        self._intake.open()
        if self._refinement is not None:
            self._refinement.start()
        self._run = self._thread.start(self._worker)
        self._run.add_done_callback(self._tell_end)
        if self._calibrations is not None:
            self._calibrations.activate()
        self._subscriptions = [
            ImageSubscription(
                self._node,
                camera.topic,
                values.image_transport,
                values.image_reliability,
                functools.partial(self._intake.take, index),
            )
            for index, camera in enumerate(self._cameras)
        ]

    def deactivate(self) -> None:
        """Unsubscribe, drop the frame that waits, and finish the one that is being worked on."""
        for subscription in self._subscriptions:
            subscription.destroy()
        self._subscriptions = []
        if self._calibrations is not None:
            self._calibrations.deactivate()
        self._intake.close()
        if self._run is not None:
            self._run.exception()  # told when it happened
            self._run = None
        if self._refinement is not None:
            self._refinement.stop()
        self.relocalization.end_searches("the node was deactivated meanwhile")
        self._frames.forget()

    def close(self) -> None:
        """Release everything."""
        self.deactivate()
        self._thread.stop()
        self._publishers.destroy()
        self._initial_pose.destroy()
        self._frames.destroy()

    @property
    def loaded(self) -> LoadedCheckpoint:
        """The network that answers the next image."""
        return self._slot.current

    def load_checkpoint(self) -> None:
        """Load the checkpoint that the parameter names now, and have it answer from the next image on.

        Its landmark map comes along, where refinement is on. Takes seconds, in which the former ones go on;
        nothing comes from them any more on return. Where something is wrong, they stay.

        Raises:
            HyperPoseError: a parameter, the checkpoint or the map is wrong.
        """
        values = self._parameters.values
        loaded = LoadedCheckpoint.load(_checkpoint_path(values), *_way_of_running(values), len(self._cameras))
        loaded = self._with_map(loaded, values)
        self._adapt_engine(loaded)
        self._slot.swap(loaded)
        self._map_problem = _map_missing(loaded, values)

    def _adapt_engine(self, loaded: LoadedCheckpoint) -> None:
        if self._parameters.values.engine == "auto" and not is_exported(loaded.path):
            adapt(loaded.estimator, loaded.path, self._node.get_logger().info)

    def _tell_end(self, run: Future[None]) -> None:
        error = run.exception()
        if error is not None:
            self._end = (
                f"no image is answered any more: {type(error).__name__}: {error}; deactivate and activate"
            )
            self._node.get_logger().error(self._end)

    def enable(self, is_enabled: bool) -> None:
        """Answer images, or count them as dropped."""
        self._intake.is_enabled = is_enabled

    def reset(self) -> None:
        """Forget what earlier images left behind: the path, the jump gate, and what time it was."""
        self._inbox.restart()

    def obstacle_to_search(self) -> str:
        """Say why the robot cannot be found now, and what to do; empty where it can."""
        values = self._parameters.values
        if self._run is None:
            return "the node is not active: nothing looks at images"
        if not self._intake.is_enabled:
            return "disabled: images are dropped; call ~/enable with data true"
        if self.loaded.map is not None or values.initial_pose_unverified:
            return ""
        missing = self._map_problem or (
            "refinement is off: set it to verify or refine"
            if self._refinement is None
            else "there is no landmark map: set map to one that `hyperpose map build` has made"
        )
        return f"nothing verifies poses, since {missing}; initial_pose_unverified counts the network's alone"

    def health(self) -> SessionHealth:
        """Return what diagnostics say of this session now."""
        loaded, limit_s = self.loaded, self._parameters.values.image_timeout
        uncalibrated = () if self._calibrations is None else self._calibrations.problems()
        return SessionHealth(
            checkpoint=str(loaded.path),
            architecture=loaded.estimator.checkpoint.architecture,
            device=loaded.estimator.device,
            device_memory=loaded.device_memory(),
            is_enabled=self._intake.is_enabled,
            topics=tuple(subscription.health() for subscription in self._subscriptions),
            problems=(
                *((self._end,) if self._end else ()),
                *self._intake.silent_cameras(limit_s),
                *uncalibrated,
                *self._publishers.problems(),
            ),
            seconds_without_image=self._intake.seconds_without_image(),
            trust=self._validator.history.summary(),
            transform=self._frames.health(),
            tracking=self.relocalization.state,
            lost=self.relocalization.problem,
            refinement=self._refinement_health(),
        )

    def _refinement_health(self) -> RefinementHealth | None:
        if self._refinement is None:
            return None
        return self._refinement.health(self._parameters.values.refinement, self._map_problem)

    def _with_map_if_possible(self, loaded: LoadedCheckpoint) -> LoadedCheckpoint:
        """Return a network with its map; without it where that cannot be had, once that is told.

        The network's poses are of use without the map.
        """
        values = self._parameters.values
        try:
            loaded = self._with_map(loaded, values)
            self._map_problem = _map_missing(loaded, values)
        except HyperPoseError as error:
            self._map_problem = f"no refinement: {error}"
        if self._map_problem:
            self._node.get_logger().error(self._map_problem)
        return loaded

    def _with_map(self, loaded: LoadedCheckpoint, values: LocalizerParameters) -> LoadedCheckpoint:
        """Return a network with the map that the parameters ask for; as it is where they ask for none.

        Raises:
            HyperPoseError: the map is damaged, or does not go with the network.
        """
        path = Path(values.map) if values.map else map_beside(loaded.path)
        if values.refinement == "off" or not (values.map or path.is_file()):
            return loaded
        checkpoint, tell = loaded.estimator.checkpoint, self._node.get_logger().warning
        return replace(loaded, map=LoadedMap.load(path, checkpoint, values.use_camera_info, tell))

    def _create_refinement(self, locator: Locator, warnings: ThrottledWarnings) -> RefinementThread | None:
        values = self._parameters.values
        if values.refinement == "off":
            return None
        accounts = FrameAccounts(FrameLedger(), LatencyRecorder(), warnings)
        localizer = MapLocalizer(
            self._frames.plan,
            locator,
            self._validator,
            values.use_camera_info,
            lambda: self.relocalization.is_searching,
        )
        return RefinementThread(
            self._slot,
            localizer,
            self._publishers,
            self.relocalization,
            accounts,
            leads=values.refinement == "refine",
            lets_network_begin=lambda: self._parameters.values.network_until_verified,
        )


def _create_inbox(
    node: LifecycleNode, parameters: NodeParameters[LocalizerParameters], ledger: FrameLedger, cameras: int
) -> Inbox:
    def limits() -> InboxLimits:
        values = parameters.values
        return InboxLimits(
            max_age_ns=round(values.max_age * 1e9),
            shortest_period_ns=round(1e9 / values.max_rate) if values.max_rate > 0 else 0,
            sync_tolerance_ns=round(values.sync_tolerance * 1e9),
        )

    return Inbox(ledger, limits, lambda: node.get_clock().now().nanoseconds, cameras)


def _map_missing(loaded: LoadedCheckpoint, values: LocalizerParameters) -> str:
    """Say that refine lacks its map; empty where it is there, or nobody counts on it."""
    if values.refinement != "refine" or loaded.map is not None:
        return ""
    return (
        f"refinement is refine, and there is no map beside {loaded.path}: nothing is verified; set map, or "
        "refinement to off"
    )


def _way_of_running(values: LocalizerParameters) -> tuple[str, str, str, int]:
    """Give the arguments of `LoadedCheckpoint.load` but the file and the cameras."""
    return values.device, values.engine, values.precision, values.threads


def _checkpoint_path(values: LocalizerParameters) -> Path:
    if values.checkpoint:
        return Path(values.checkpoint)
    if values.place:
        return checkpoint_of_place(Path(values.place))
    raise HyperPoseError(
        "parameter checkpoint is not set: give the path of a .safetensors file, or place, a folder that "
        "`hyperpose build` has made"
    )
