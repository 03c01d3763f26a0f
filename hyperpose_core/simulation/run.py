"""One run: from its options to its folder. Also the entry point of the process that renders it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.simulation.camera import Sensor, simulated_camera
from hyperpose_core.simulation.conditions import CONDITIONS
from hyperpose_core.simulation.drive import Drive, plan_drive
from hyperpose_core.simulation.layout import build_town, park_cars
from hyperpose_core.simulation.options import SimulationOptions
from hyperpose_core.simulation.renderer import Renderer
from hyperpose_core.simulation.robotcar_writer import RunWriter
from hyperpose_core.simulation.scenery import build_scenery
from hyperpose_core.simulation.sensors import Place, gps_rows, ins_rows, odometry_rows
from hyperpose_core.simulation.town import Town

# Part of what a finished run is compared with: raise it when the same options give other files.
_CONTENT_VERSION = 2

_EASTING_M, _NORTHING_M, _SCENE_SPACING_M = 620050.0, 5736250.0, 700.0


@dataclass(frozen=True)
class Run:
    """One run of one town.

    Attributes:
        options: what was asked for.
        scene: number of the town.
        split: "train" or "test".
        number: of the run within its split.
    """

    options: SimulationOptions
    scene: int
    split: str
    number: int

    @property
    def condition(self) -> str:
        """Name of the run's light and season."""
        conditions = self.options.train if self.split == "train" else self.options.test
        return conditions[self.number]

    @property
    def date(self) -> str:
        """Name of the run's folder."""
        return self._start().strftime("%Y-%m-%d-%H-%M-%S")

    @property
    def place(self) -> Place:
        """Where the town lies."""
        return Place(_EASTING_M + self.scene * _SCENE_SPACING_M, _NORTHING_M)

    def town(self) -> Town:
        """Return the town with the cars that are parked on this day."""
        return park_cars(_town(self.options, self.scene), self._day)

    def drive(self) -> Drive:
        """Return the run's true motion."""
        options, loop = self.options, _town(self.options, self.scene).loop
        is_test = self.split == "test"
        return plan_drive(loop, self.number, is_test, options.frames, options.speed_m_s, self._seed(1))

    def stamps_us(self) -> list[int]:
        """Return the images' stamps, integer microseconds."""
        return [self._start_us() + round(time * 1e6) for time in self.drive().image_times]

    def content(self) -> dict[str, object]:
        """Return, as plain data, all that decides what is in the run's files."""
        kept = ("seed", "frames", "width", "height", "length_m", "width_m", "speed_m_s", "texture_scale")
        options = self.options.content()
        own = {"version": _CONTENT_VERSION, "scene": self.scene, "split": self.split, "number": self.number}
        return own | {"condition": self.condition} | {name: options[name] for name in kept}

    def write(self, root: Path, on_frame: Callable[[], None]) -> None:
        """Render the run and write its folder below `root`, calling `on_frame` after every image.

        Raises:
            HyperPoseError: panda3d is not installed, or a file cannot be written.
        """
        options, condition = self.options, CONDITIONS[self.condition]
        writer = RunWriter(root, self.date)
        writer.begin()
        drive, stamps = self.drive(), self.stamps_us()
        camera = simulated_camera(options.width, options.height)
        scenery = build_scenery(self.town(), condition, self._day, options.texture_scale)
        renderer = Renderer(scenery, camera, condition.horizon if condition.visibility_m > 0 else None)
        sensor = Sensor(camera, condition, self._seed(3))
        for stamp, time in zip(stamps, drive.image_times, strict=True):
            picture = renderer.render(drive.camera_at(float(time)), condition.visibility_m)
            writer.write_image(stamp, sensor.expose(picture))
            on_frame()
        renderer.close()
        rng = np.random.default_rng(self._seed(4))
        writer.write_tables(
            stamps,
            ins_rows(drive, self.place, self._start_us(), rng),
            gps_rows(drive, self.place, self._start_us(), rng),
            odometry_rows(drive, stamps, rng),
        )
        writer.finish(self.content())

    @property
    def _day(self) -> int:
        """A number of its own for each run of a town, whatever other runs there are."""
        return 2 * self.number + (1 if self.split == "test" else 0)

    def _seed(self, purpose: int) -> list[int]:
        return [self.options.seed, self.scene, purpose, self._day]

    def _start(self) -> datetime:
        begin = datetime.strptime(CONDITIONS[self.condition].date, "%Y-%m-%d-%H-%M").replace(
            tzinfo=timezone.utc
        )
        earlier = [*self.options.train, *self.options.test]
        place = self.number + (len(self.options.train) if self.split == "test" else 0)
        again = earlier[:place].count(self.condition)
        seconds = int(np.random.default_rng(self._seed(5)).integers(60))
        return begin + timedelta(days=again, minutes=4 * self.scene, seconds=seconds)

    def _start_us(self) -> int:
        jitter = int(np.random.default_rng(self._seed(6)).integers(200_000, 900_000))
        return int(self._start().timestamp()) * 1_000_000 + 2_000_000 + jitter


def _town(options: SimulationOptions, scene: int) -> Town:
    stretch = np.random.default_rng([options.seed, scene, 9]).uniform(0.9, 1.1, 2) if scene else np.ones(2)
    seed = options.seed * 1000 + scene
    length, width = float(options.length_m * stretch[0]), float(options.width_m * stretch[1])
    return build_town(seed, round(length, 1), round(width, 1))


def main() -> int:
    """Write the run that standard input describes, printing a line after every image."""
    job = json.load(sys.stdin)
    options = job["options"]
    options["train"], options["test"] = tuple(options["train"]), tuple(options["test"])
    run = Run(SimulationOptions(**options), job["scene"], job["split"], job["number"])
    try:
        run.write(Path(job["root"]), lambda: print("frame", flush=True))
    except (HyperPoseError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
