"""Two engines of one network, of which the faster one answers: that changes with a machine's load."""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from hyperpose_core.inference.engines.engine import Engine
from hyperpose_core.models.output import PoseArrays

if TYPE_CHECKING:
    from hyperpose_core.inference.engines.engine import Images

# After so many images a few go through the other engine, 2%: a 95th percentile takes no notice. The first of
# these finds cold caches and does not count. Where images are slow: after so many seconds, but at least so
# many images.
_PERIOD = 147
_LONGEST_PERIOD_S = 10.0
_LEAST_PERIOD = 45
_BURST = 3
# Images just before a burst, by which its times are judged: the machine's load was the same.
_COMPARED = 20
# Two of these bursts must say so: a change takes 10 to 20 s.
_BURSTS = 3
# The other one must take less than this part of the time, or two equal ones would change places for ever.
_HYSTERESIS = 0.9


class _Burst(NamedTuple):
    """Milliseconds an image of the other engine, and of the usual one just before."""

    other_ms: float
    usual_ms: float


class AdaptiveEngine(Engine):
    """Runs one engine, tries another one now and then, and goes over to it once it has been faster.

    Both give the same outputs, but for the rounding of float32. Its attributes are those of the one in use.
    """

    def __init__(self, engine: Engine, tell: Callable[[str], object]) -> None:
        """Begin with one engine.

        Args:
            engine: what answers until another one is offered.
            tell: is told which engine is in use from now on, and why.
        """
        self._tell = tell
        self._lock = threading.Lock()
        self._current = engine
        self._other: Engine | None = None
        self._calls, self._left, self._since = 0, 0, time.perf_counter()
        self._shape: tuple[int, ...] = ()
        self._usual: deque[float] = deque(maxlen=_COMPARED)
        self._probes: list[float] = []
        self._bursts: deque[_Burst] = deque(maxlen=_BURSTS)

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name of the engine in use."""
        return self._current.name

    @property
    def runtime(self) -> str:  # type: ignore[override]
        """The package that computes now."""
        return self._current.runtime

    @property
    def precision(self) -> str:  # type: ignore[override]
        """Precision of the engine in use."""
        return self._current.precision

    @property
    def device(self) -> str:  # type: ignore[override]
        """Device of the engine in use."""
        return self._current.device

    @property
    def threads(self) -> int:  # type: ignore[override]
        """Threads of the engine in use."""
        return self._current.threads

    def offer(self, other: Engine, is_faster: bool, why: str) -> None:
        """Take a second engine in.

        Args:
            other: of the same network, with another name.
            is_faster: whether it answers from now on.
            why: what was found, for people.
        """
        with self._lock:
            self._other = other
            if is_faster:
                self._swap()
        self._tell(f"engine {self.name}: {why}")

    def __call__(self, inputs: Images) -> PoseArrays:
        """Run the network; see `Engine.__call__`."""
        engine, is_counted = self._next(tuple(inputs.shape))
        begin = time.perf_counter()
        output = engine(inputs)
        if is_counted:
            self._record(engine, time.perf_counter() - begin)
        return output

    def _next(self, shape: tuple[int, ...]) -> tuple[Engine, bool]:
        """Choose the engine of a call, and say whether its time counts."""
        with self._lock:
            if self._other is None:
                return self._current, False
            if shape != self._shape:
                self._shape = shape
                self._forget()
            now = time.perf_counter()
            if self._left == 0:
                is_long = self._calls >= _LEAST_PERIOD and now - self._since >= _LONGEST_PERIOD_S
                if self._calls < _PERIOD and not is_long:
                    self._calls += 1
                    return self._current, self._calls > 1
                self._left = _BURST
            self._left -= 1
            if self._left == 0:
                self._calls, self._since = 0, now
            return self._other, self._left < _BURST - 1

    def _record(self, engine: Engine, seconds: float) -> None:
        with self._lock:
            if engine is self._current:
                self._usual.append(1e3 * seconds)
                return
            self._probes.append(1e3 * seconds)
            if len(self._probes) < _BURST - 1 or len(self._usual) < _COMPARED:
                return
            self._bursts.append(_Burst(statistics.median(self._probes), statistics.median(self._usual)))
            self._probes.clear()
            faster = [burst for burst in self._bursts if burst.other_ms < _HYSTERESIS * burst.usual_ms]
            if 2 * len(faster) <= _BURSTS:
                return
            self._swap()
        self._tell(
            f"engine {self.name}, which takes {faster[-1].other_ms:.1f} ms an image now; the other one takes "
            f"{faster[-1].usual_ms:.1f} ms"
        )

    def _swap(self) -> None:
        assert self._other is not None
        self._current, self._other = self._other, self._current
        self._forget()

    def _forget(self) -> None:
        self._calls, self._left, self._since = 0, 0, time.perf_counter()
        self._usual.clear()
        self._probes.clear()
        self._bursts.clear()
