"""The network in use, which another one may replace between two sets of frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hyperpose_core.inference.estimator import PoseEstimator, import_what_runs
from hyperpose_ros.localizer.loaded_map import LoadedMap

_WARM_UP_SIZE = (480, 640)  # of an image from a camera that the checkpoint does not know


@dataclass(frozen=True)
class DeviceMemory:
    """What a process holds of a GPU's memory.

    Attributes:
        allocated_bytes: in use by tensors.
        reserved_bytes: kept from other processes, in use or not.
    """

    allocated_bytes: int
    reserved_bytes: int


@dataclass(frozen=True, eq=False)
class LoadedCheckpoint:
    """A checkpoint's network, ready to be asked.

    Attributes:
        path: the file that it was loaded from.
        estimator: the network.
        import_s: seconds that importing what runs it took.
        load_s: seconds that reading the file and building the network took.
        warm_up_s: seconds that the first images took.
        map: the landmark map that goes with it; None where there is none, or none is wanted.
    """

    path: Path
    estimator: PoseEstimator
    import_s: float = 0.0
    load_s: float = 0.0
    warm_up_s: float = 0.0
    map: LoadedMap | None = None

    @classmethod
    def load(
        cls,
        path: Path,
        device: str,
        engine: str = "auto",
        precision: str = "auto",
        threads: int = 0,
        cameras: int = 1,
    ) -> LoadedCheckpoint:
        """Load a checkpoint and warm its network up.

        Args:
            path: the .safetensors file, or the .onnx file that `hyperpose export` made of one.
            device: auto, cpu, cuda or cuda:N.
            engine: what runs the network, one of `engines.ENGINE_NAMES`.
            precision: of its arithmetic, one of `engines.PRECISIONS`.
            threads: of the CPU for one inference; 0 takes torch's number.
            cameras: whose images it will be asked about together.

        Raises:
            HyperPoseError: the file or another argument is wrong.
        """
        begin = time.monotonic()
        import_what_runs(path)
        imported = time.monotonic()
        estimator = PoseEstimator.load(
            path, device, engine=engine, precision=precision, is_tried=True, threads=threads
        )
        loaded = time.monotonic()
        camera = estimator.checkpoint.camera
        size = _WARM_UP_SIZE if camera is None else (camera.height, camera.width)
        estimator.warm_up(*size, images=cameras)
        return cls(path, estimator, imported - begin, loaded - imported, time.monotonic() - loaded)

    def device_memory(self) -> DeviceMemory | None:
        """Return what this process holds of a GPU's memory; None on the CPU."""
        device = self.estimator.device
        if not device.startswith("cuda"):
            return None
        import torch

        return DeviceMemory(torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device))

    def describe(self) -> str:
        """Name file, architecture, device, engine and precision."""
        engine = self.estimator.engine
        checkpoint = self.estimator.checkpoint
        map = "" if self.map is None else f", with {self.map.describe()}"
        unknown = "" if checkpoint.uncertainty.is_measured else "; its covariance was not measured"
        return (
            f"{self.path}: {checkpoint.architecture} on {self.estimator.device} "
            f"({engine.name}, {engine.precision}){map}{unknown}"
        )


class EstimatorSlot:
    """Holds the network that estimates; safe to use from any thread.

    Some threads use it, each for a set of frames at a time, another one may swap it.
    """

    def __init__(self, loaded: LoadedCheckpoint) -> None:
        """Start with a network."""
        self._changed = threading.Condition()
        self._current = loaded
        self._in_use: list[LoadedCheckpoint] = []

    @property
    def current(self) -> LoadedCheckpoint:
        """The network that the next set of frames will meet."""
        return self._current

    @contextmanager
    def use(self) -> Iterator[LoadedCheckpoint]:
        """Lend the network for one set of frames, whose answers all come from it."""
        with self._changed:
            loaded = self._current
            self._in_use.append(loaded)
        try:
            yield loaded
        finally:
            with self._changed:
                self._in_use.remove(loaded)
                self._changed.notify_all()

    def swap(self, loaded: LoadedCheckpoint) -> LoadedCheckpoint:
        """Put another network in, and return the former one once nothing more will come from it.

        Waits for the sets of frames that are being worked on.
        """
        with self._changed:
            former, self._current = self._current, loaded
            self._changed.wait_for(lambda: former not in self._in_use)
        return former
