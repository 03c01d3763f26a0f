"""The localizer: a lifecycle node from images to camera poses. Wiring only.

image -> subscription -> intake -> inbox -> worker (NetworkLocalizer) -> publishers -> ~/pose, /tf, ...
      -> refinement (MapLocalizer) -> publishers -> ~/verified_pose, ~/pose, /tf, ...
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.large_imports import import_large
from hyperpose_ros.common.process import end_process, process_age_s, run_node
from hyperpose_ros.images.cameras import declare_cameras
from hyperpose_ros.images.counters import FrameLedger, LatencyRecorder
from hyperpose_ros.localizer.diagnostics import DiagnosticsPublisher, NodeHealth
from hyperpose_ros.localizer.services import LocalizerServices
from hyperpose_ros.parameters.declaration import declarations
from hyperpose_ros.parameters.localizer import LocalizerParameters
from hyperpose_ros.parameters.on_node import QOS_OVERRIDE_PREFIX, NodeParameters, unused_overrides

if TYPE_CHECKING:
    from hyperpose_ros.localizer.session import Session

NODE_NAME = "localizer"


class Localizer(LifecycleNode):
    """Tells where a camera is from each of its images.

    configure: parameters are checked, the checkpoint is loaded, the network warmed up, output topics appear.
    activate: the image subscription. deactivate: no subscription, the frame in hand is finished.
    cleanup and shutdown: everything is released but parameters, services and `/diagnostics`.
    """

    def __init__(self, ledger: FrameLedger | None = None, latencies: LatencyRecorder | None = None) -> None:
        """Declare the parameters.

        Args:
            ledger: where frames are counted; its own one if not given.
            latencies: where durations are kept; likewise.

        Raises:
            HyperPoseError: a parameter has the wrong type or an impossible value.
        """
        super().__init__(NODE_NAME)
        self._session: Session | None = None
        self._settings = NodeParameters(self, LocalizerParameters, lambda: self._session is not None)
        declare_cameras(self._settings)
        self._ledger = FrameLedger() if ledger is None else ledger
        self._latencies = LatencyRecorder() if latencies is None else latencies
        self._state = "unconfigured"
        self._offered_services = LocalizerServices(
            self, lambda: self._session, lambda: self._settings.values.relocalize_timeout
        )
        self._diagnostics = DiagnosticsPublisher(self, self._health)
        self._warn_of_unused_overrides(qos=False)

    @property
    def node(self) -> Node:
        """What the executor spins."""
        return self

    def start(self) -> bool:
        """Configure and activate if `autostart` is on; False where that failed, the reason being logged."""
        if not self._settings.values.autostart:
            return True
        done = TransitionCallbackReturn.SUCCESS
        if self.trigger_configure() != done or self.trigger_activate() != done:
            return False
        self.get_logger().info(f"ready {process_age_s():.1f} s after the process's start")
        return True

    def release(self) -> None:
        """Release everything, in whatever state the node is."""
        if self._state != "finalized":
            self.trigger_shutdown()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up; FAILURE with the reason logged where something is wrong."""
        return self._transition("configure", "inactive", self._open_session)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe."""
        super().on_activate(state)
        return self._transition("activate", "active", self._activate_session)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and finish the frame in hand."""
        result = self._transition("deactivate", "inactive", self._deactivate_session)
        super().on_deactivate(state)
        return result

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the network and the topics."""
        return self._transition("clean up", "unconfigured", self._close_session)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, from any state."""
        return self._transition("shut down", "finalized", self._close_session)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything after a transition that failed half-way; the node can be configured again."""
        return self._transition("recover", "unconfigured", self._close_session)

    def _open_session(self) -> None:
        begin = time.monotonic()
        # Takes a while: before this the node is already visible and answers signals.
        import_large("hyperpose_ros.localizer.session")
        from hyperpose_ros.localizer.session import Session

        import_s = time.monotonic() - begin
        self._session = Session(self, self._settings, self._ledger, self._latencies)
        loaded = self._session.loaded
        self.get_logger().info(
            f"configured in {time.monotonic() - begin:.1f} s: {import_s + loaded.import_s:.1f} s importing, "
            f"{loaded.load_s:.1f} s loading the network, {loaded.warm_up_s:.1f} s warming it up"
        )

    def _activate_session(self) -> None:
        if self._session is not None:
            self._session.activate()
        self._warn_of_unused_overrides(qos=True)

    def _deactivate_session(self) -> None:
        if self._session is not None:
            self._session.deactivate()

    def _close_session(self) -> None:
        self._offered_services.abandon_loading()
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _transition(self, verb: str, next_state: str, action: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            action()
        except HyperPoseError as error:
            self.get_logger().error(f"cannot {verb}: {error}")
            return TransitionCallbackReturn.FAILURE
        except (
            Exception
        ) as error:  # rclpy takes what a transition raises for an answer, and keeps it to itself
            self.get_logger().error(f"cannot {verb}: {type(error).__name__}: {error}")
            return TransitionCallbackReturn.ERROR
        self._state = next_state
        self.get_logger().info(next_state)
        return TransitionCallbackReturn.SUCCESS

    def _health(self) -> NodeHealth:
        return NodeHealth(
            state=self._state,
            counts=self._ledger.counts(),
            rate_hz=self._latencies.rate_hz(),
            latencies=self._latencies.summary(),
            image_timeout=self._settings.values.image_timeout,
            recent=self._ledger.recent(),
            session=None if self._session is None else self._session.health(),
        )

    def _warn_of_unused_overrides(self, qos: bool) -> None:
        for name, sentence in unused_overrides(self).items():
            if name.startswith(QOS_OVERRIDE_PREFIX) == qos:
                self.get_logger().warning(sentence)


def main() -> NoReturn:
    """Run the localizer until a signal ends it; the process ends with the exit code of `run_node`."""
    end_process(run_node(_command_line(), Localizer, sys.argv))


def _command_line() -> argparse.ArgumentParser:
    every = declarations(LocalizerParameters)
    lines = [f"  {entry.name} (default {entry.default!r})\n      {entry.description}" for entry in every]
    return argparse.ArgumentParser(
        prog=NODE_NAME,
        description="Tell where a camera is from each of its images (a ROS 2 lifecycle node).",
        usage="%(prog)s [-h] --ros-args -p checkpoint:=FILE [-r image:=TOPIC] [-p NAME:=VALUE ...]",
        epilog="parameters:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


if __name__ == "__main__":
    main()
