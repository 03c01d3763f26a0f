"""The localizer's services: another checkpoint, on and off, begin anew, find the robot."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import SetBool, Trigger

from hyperpose_core.errors import HyperPoseError

if TYPE_CHECKING:
    from hyperpose_ros.localizer.relocalization import SearchResult
    from hyperpose_ros.localizer.session import Session

Answer = TypeVar("Answer")

_NOT_CONFIGURED = "the node is not configured"


class LocalizerServices:
    """The services of a localizer, from its creation to its end.

    `~/load_checkpoint` (std_srvs/Trigger) loads the file that the parameter `checkpoint` names beside the
    running network and swaps the two between frames; where that fails, the running one stays. `~/enable`
    (std_srvs/SetBool) turns localization off and on. `~/reset` (std_srvs/Trigger) forgets what earlier images
    left behind. `~/relocalize` (std_srvs/Trigger) looks for the robot as if nothing were known of it, tells
    others on `initialpose` where it is, and answers what it found or why not. While the node is not
    configured they refuse, and say so.
    """

    def __init__(
        self, node: Node, session: Callable[[], Session | None], relocalize_timeout_s: Callable[[], float]
    ) -> None:
        """Create the services.

        Args:
            node: the node that offers them.
            session: returns what is configured now; None where nothing is.
            relocalize_timeout_s: returns after how many seconds a search is given up now.
        """
        self._node = node
        self._session = session
        self._relocalize_timeout_s = relocalize_timeout_s
        self._loading: _Loading | None = None
        # A group of its own: a call that waits would hold up all others of its group.
        self._waiting = ReentrantCallbackGroup()
        for name, callback in (
            ("~/load_checkpoint", self._load_checkpoint),
            ("~/relocalize", self._relocalize),
        ):
            node.create_service(Trigger, name, callback, callback_group=self._waiting)
        node.create_service(SetBool, "~/enable", self._enable)
        node.create_service(Trigger, "~/reset", self._reset)

    def abandon_loading(self) -> None:
        """Let go of a checkpoint that is being loaded, since what it was for is being released."""
        if self._loading is not None:
            self._loading.end("the node was cleaned up meanwhile")

    async def _load_checkpoint(
        self, _request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        session = self._session()
        if session is None:
            response.message = _NOT_CONFIGURED
            return response
        if self._loading is not None:
            response.message = "another checkpoint is being loaded: call again once that is answered"
            return response
        self._loading = _Loading(self._node, session)
        problem = await self._loading.problem.future
        self._loading = None
        response.success = not problem
        if problem:
            kept = f"; still in use: {session.loaded.describe()}" if self._session() is session else ""
            response.message = f"{problem}{kept}"
            self._node.get_logger().error(f"~/load_checkpoint: {response.message}")
        else:
            response.message = f"in use from now on: {session.loaded.describe()}"
            self._node.get_logger().info(f"~/load_checkpoint: {response.message}")
        return response

    async def _relocalize(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        session = self._session()
        response.message = _NOT_CONFIGURED if session is None else session.obstacle_to_search()
        if session is None or response.message:
            return response
        relocalization = session.relocalization
        answer: _Deferred[SearchResult] = _Deferred(self._node)
        search = relocalization.search(answer.give)
        # On a clock of its own: simulated time may stand still.
        timer = self._node.create_timer(
            self._relocalize_timeout_s(),
            lambda: relocalization.give_up(search),
            callback_group=self._waiting,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        given = await answer.future
        self._node.destroy_timer(timer)
        if given is None:
            raise RuntimeError("a search has ended without an answer")
        response.success, response.message = given.found, given.text
        if not given.found:
            self._node.get_logger().warning(f"~/relocalize: {given.text}")
        return response

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        session = self._session()
        if session is None:
            response.message = _NOT_CONFIGURED
            return response
        session.enable(request.data)
        response.success = True
        response.message = "enabled" if request.data else "disabled: images are dropped until enabled again"
        self._node.get_logger().info(f"~/enable: {response.message}")
        return response

    def _reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        session = self._session()
        if session is None:
            response.message = _NOT_CONFIGURED
            return response
        session.reset()
        response.success = True
        response.message = "path, jump gate and the images' latest stamp forgotten; counters stay"
        self._node.get_logger().info(f"~/reset: {response.message}")
        return response


class _Deferred(Generic[Answer]):
    """An answer that comes later, from any thread, while the executor serves others.

    Attributes:
        future: what the callback awaits.
    """

    def __init__(self, node: Node) -> None:
        self.future: Future[Answer] = Future()
        self._node = node
        self._lock = threading.Lock()

    def give(self, answer: Answer) -> None:
        """Give the answer, unless it is given already."""
        with self._lock:
            if self.future.done():
                return
            self.future.set_result(answer)
        # The executor resumes whoever awaits a future when it looks around, which no result makes it do.
        executor = self._node.executor
        if executor is not None:
            executor.create_task(lambda: None)


class _Loading:
    """A checkpoint that is being loaded, in a thread of its own.

    Attributes:
        problem: what went wrong; empty where the checkpoint is in use now.
    """

    def __init__(self, node: Node, session: Session) -> None:
        self.problem: _Deferred[str] = _Deferred(node)
        self._session = session
        threading.Thread(target=self._run, name="checkpoint loading", daemon=True).start()

    def end(self, problem: str) -> None:
        """Give the answer, unless it is given already."""
        self.problem.give(problem)

    def _run(self) -> None:
        try:
            self._session.load_checkpoint()
        except HyperPoseError as error:
            self.end(str(error))
        except Exception as error:  # memory of a GPU that runs out: the running network has its own
            self.end(f"{type(error).__name__}: {error}")
        else:
            self.end("")
