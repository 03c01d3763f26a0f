"""What to simulate and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.simulation.conditions import CONDITIONS

SCENE_NAMES = ("market", "abbey", "harbour", "station", "college", "mill", "castle", "gardens")

_SMALLEST_LOOP_SIDE_M = 36.0


@dataclass(frozen=True)
class SimulationOptions:
    """What to simulate; equal options give equal files.

    Attributes:
        seed: of the town, the runs and the noise.
        scenes: how many towns; each becomes a RobotCar folder of its own when there are several.
        train: condition of each training run, in the order of driving.
        test: condition of each test run.
        frames: images of one run, spread over one loop.
        width: image width, pixels, even.
        height: image height, pixels, even.
        length_m: longer side of the loop's centre line, metres.
        width_m: shorter side of the loop's centre line, metres.
        speed_m_s: mean speed; together with `frames` it fixes the camera's rate.
        texture_scale: 1 for textures that fit 640x480 images, less for smaller ones.
        workers: runs rendered at the same time, each in a process of its own.
    """

    seed: int = 0
    scenes: int = 1
    train: tuple[str, ...] = ("noon", "overcast", "dusk", "snow")
    test: tuple[str, ...] = ("autumn",)
    frames: int = 280
    width: int = 640
    height: int = 480
    length_m: float = 80.0
    width_m: float = 50.0
    speed_m_s: float = 7.0
    texture_scale: float = 1.0
    workers: int = 2

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            HyperPoseError: a value is impossible; the message names it and what would be right.
        """
        for name in (*self.train, *self.test):
            if name not in CONDITIONS:
                raise HyperPoseError(
                    f"simulation: no condition is called {name!r}; there are {', '.join(CONDITIONS)}"
                )
        checks = (
            (len(self.train) > 0, "train: at least one training run is needed"),
            (0 < self.scenes <= len(SCENE_NAMES), f"scenes: 1 to {len(SCENE_NAMES)}, not {self.scenes}"),
            (self.frames >= 4, f"frames: at least 4 a run, not {self.frames}"),
            (_is_image_size(self.width), f"width: an even number from 32 to 2048, not {self.width}"),
            (_is_image_size(self.height), f"height: an even number from 32 to 2048, not {self.height}"),
            (
                min(self.length_m, self.width_m) >= _SMALLEST_LOOP_SIDE_M,
                f"length_m and width_m: at least {_SMALLEST_LOOP_SIDE_M:g} m, to leave room for a block",
            ),
            (max(self.length_m, self.width_m) <= 300.0, "length_m and width_m: at most 300 m"),
            (1.0 <= self.speed_m_s <= 20.0, f"speed_m_s: 1 to 20, not {self.speed_m_s:g}"),
            (0.05 <= self.texture_scale <= 1.5, f"texture_scale: 0.05 to 1.5, not {self.texture_scale:g}"),
            (self.workers >= 1, f"workers: at least 1, not {self.workers}"),
        )
        for is_right, message in checks:
            if not is_right:
                raise HyperPoseError(f"simulation: {message}")

    def content(self) -> dict[str, object]:
        """Return, as plain data, all that decides what is in the files."""
        content = asdict(self)
        del content["workers"]
        return content


@dataclass(frozen=True)
class RunSummary:
    """One drive through a town.

    Attributes:
        date: name of the run's folder.
        split: "train" or "test".
        condition: name of its light and season.
        frames: number of images.
        lateral_offset_m: mean offset from the loop's centre line, metres, positive to the right of travel.
        nearest_train_line_m: for a test run, the median distance of its positions to the nearest line driven
            in training, metres; None for a training run.
        rendered: False where the files were there already.
    """

    date: str
    split: str
    condition: str
    frames: int
    lateral_offset_m: float
    nearest_train_line_m: float | None
    rendered: bool = True


@dataclass(frozen=True)
class SceneSummary:
    """One town.

    Attributes:
        name: name of the scene.
        root: its RobotCar folder.
        loop_length_m: length of the loop's centre line, metres.
        loop_extent_m: longer side of the loop, metres.
        runs: its drives, training runs first.
    """

    name: str
    root: Path
    loop_length_m: float
    loop_extent_m: float
    runs: tuple[RunSummary, ...]


@dataclass(frozen=True)
class SimulationSummary:
    """All that `simulate` made.

    Attributes:
        output: the folder that was asked for.
        scenes: the towns; the first one's folder is `output` itself when there is only one.
        seconds: how long it took.
    """

    output: Path
    scenes: tuple[SceneSummary, ...] = field(default_factory=tuple)
    seconds: float = 0.0

    @property
    def loop_length_m(self) -> float:
        """Length of the first town's loop, metres."""
        return self.scenes[0].loop_length_m

    @property
    def loop_extent_m(self) -> float:
        """Longer side of the first town's loop, metres."""
        return self.scenes[0].loop_extent_m

    @property
    def runs(self) -> tuple[RunSummary, ...]:
        """The first town's runs."""
        return self.scenes[0].runs


def _is_image_size(pixels: int) -> bool:
    return pixels % 2 == 0 and 32 <= pixels <= 2048
