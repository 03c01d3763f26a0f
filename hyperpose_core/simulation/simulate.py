"""`simulate`: all runs of all towns, rendered side by side, kept from one call to the next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Lock

import numpy as np
from tqdm import tqdm

import hyperpose_core
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import locked_folder, replace_text
from hyperpose_core.simulation.camera import simulated_camera
from hyperpose_core.simulation.options import (
    SCENE_NAMES,
    RunSummary,
    SceneSummary,
    SimulationOptions,
    SimulationSummary,
)
from hyperpose_core.simulation.renderer import check_panda
from hyperpose_core.simulation.robotcar_writer import RunWriter, remove_other_runs, write_sdk, write_splits
from hyperpose_core.simulation.run import Run

SUMMARY_FILE = "simulation.json"
CONDITIONS_FILE = "conditions.json"


def simulate(
    output: Path, options: SimulationOptions | None = None, show_progress: bool = False
) -> SimulationSummary:
    """Write a small simulated RobotCar, or bring the one that is there up to date.

    With one scene `output` is a RobotCar folder; with several, each scene is one below `output`, by name.
    Beside the runs lie train_split.txt, test_split.txt, sdk/, conditions.json (condition by date) and, in
    `output`, simulation.json (the summary). A run that is there already with the same options is kept.

    Args:
        output: where to write; made if it is missing.
        options: what to simulate; the default set if None.
        show_progress: draw a progress bar on standard error.

    Raises:
        HyperPoseError: panda3d is missing, `output` holds something else, another process simulates there,
            or a run cannot be rendered.
    """
    start = time.monotonic()
    options = options or SimulationOptions()
    output = Path(output)
    _claim(output)
    with locked_folder(output, "simulation"):
        scenes = _simulate(output, options, show_progress)
        summary = SimulationSummary(output, scenes, round(time.monotonic() - start, 2))
        _write_summary(summary, options)
    return summary


def _simulate(output: Path, options: SimulationOptions, show_progress: bool) -> tuple[SceneSummary, ...]:
    scenes = [_scene_runs(options, scene) for scene in range(options.scenes)]
    roots = [
        output if options.scenes == 1 else output / SCENE_NAMES[scene] for scene in range(options.scenes)
    ]
    waiting = []
    for root, runs in zip(roots, scenes, strict=True):
        _write_scene(root, options, runs)
        waiting += [(root, run) for run in runs if not RunWriter(root, run.date).is_finished(run.content())]
    if waiting:
        _render(waiting, options, show_progress)
    rendered = {(root, run.date) for root, run in waiting}
    return tuple(
        _summarise(SCENE_NAMES[scene], root, runs, rendered)
        for scene, (root, runs) in enumerate(zip(roots, scenes, strict=True))
    )


def _claim(output: Path) -> None:
    """Make the folder ours, or refuse one that holds something else."""
    if output.exists() and not output.is_dir():
        raise HyperPoseError(f"{output}: is a file; the simulation writes a folder")
    if output.is_dir() and any(output.iterdir()) and not (output / SUMMARY_FILE).is_file():
        raise HyperPoseError(f"{output}: holds files that no simulation wrote; give an empty or a new folder")
    output.mkdir(parents=True, exist_ok=True)
    marker = output / SUMMARY_FILE
    if not marker.is_file():
        replace_text(marker, "{}\n", "summary")


def _scene_runs(options: SimulationOptions, scene: int) -> list[Run]:
    train = [Run(options, scene, "train", number) for number in range(len(options.train))]
    return train + [Run(options, scene, "test", number) for number in range(len(options.test))]


def _write_scene(root: Path, options: SimulationOptions, runs: list[Run]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    remove_other_runs(root, [run.date for run in runs])
    write_sdk(root, simulated_camera(options.width, options.height))
    dates = {split: [run.date for run in runs if run.split == split] for split in ("train", "test")}
    write_splits(root, dates["train"], dates["test"])
    conditions = json.dumps({run.date: run.condition for run in runs}, indent=1) + "\n"
    replace_text(root / CONDITIONS_FILE, conditions, "list of conditions")


def _render(waiting: list[tuple[Path, Run]], options: SimulationOptions, show_progress: bool) -> None:
    """Render runs, several at a time, each in a process of its own: panda3d has one engine a process."""
    check_panda()
    lock = Lock()
    bar = tqdm(
        total=len(waiting) * options.frames,
        unit="image",
        desc="simulation",
        disable=not show_progress,
        # A log file gets a line now and then, a terminal a bar that moves.
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
    )

    def advance() -> None:
        with lock:
            bar.update()

    processes: list[subprocess.Popen[str]] = []
    with bar, ThreadPoolExecutor(options.workers) as pool:
        futures = [pool.submit(_render_one, root, run, processes, advance) for root, run in waiting]
        with _stopping(pool, processes):
            for future in futures:
                future.result()


def _render_one(
    root: Path, run: Run, processes: list[subprocess.Popen[str]], advance: Callable[[], None]
) -> None:
    environment = dict(os.environ)
    package_parent = str(Path(hyperpose_core.__file__).resolve().parent.parent)
    known = [part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part]
    environment["PYTHONPATH"] = os.pathsep.join([package_parent, *known])
    job = {
        "root": str(root.resolve()),
        "options": asdict(run.options),
        "scene": run.scene,
        "split": run.split,
        "number": run.number,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "hyperpose_core.simulation.run"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    processes.append(process)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    with process:
        process.stdin.write(json.dumps(job))
        process.stdin.close()
        for line in process.stdout:
            if line == "frame\n":
                advance()
        complaint = process.stderr.read().strip()
    if process.returncode:
        last = complaint.splitlines()[-1] if complaint else f"exit code {process.returncode}"
        raise HyperPoseError(f"simulation: run {run.date} was not rendered: {last}")


@contextmanager
def _stopping(pool: ThreadPoolExecutor, processes: list[subprocess.Popen[str]]) -> Iterator[None]:
    """On the way out of a failure or Ctrl-C, start no more runs and end the processes that still render."""
    try:
        yield
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            if process.poll() is None:
                process.terminate()
        raise


def _summarise(name: str, root: Path, runs: list[Run], rendered: set[tuple[Path, str]]) -> SceneSummary:
    loop = runs[0].town().loop
    drives = {run.date: run.drive() for run in runs}
    lines = [drives[run.date].positions[:, :2] for run in runs if run.split == "train"]
    summaries = []
    for run in runs:
        drive = drives[run.date]
        nearest = None
        if run.split == "test":
            nearest = float(
                np.median(np.min([_distances(drive.positions[::20, :2], line) for line in lines], axis=0))
            )
        summaries.append(
            RunSummary(
                date=run.date,
                split=run.split,
                condition=run.condition,
                frames=len(drive.image_times),
                lateral_offset_m=round(drive.offset_m, 3),
                nearest_train_line_m=None if nearest is None else round(nearest, 3),
                rendered=(root, run.date) in rendered,
            )
        )
    return SceneSummary(name, root, round(loop.perimeter, 3), round(loop.extent, 3), tuple(summaries))


def _distances(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Return the distance [N] of points [N, 2] to a line of closely spaced points [M, 2]."""
    return np.asarray(np.min(np.linalg.norm(points[:, None] - line[None, ::2], axis=-1), axis=1))


def _write_summary(summary: SimulationSummary, options: SimulationOptions) -> None:
    scenes = []
    for scene in summary.scenes:
        runs = [{key: value for key, value in asdict(run).items() if key != "rendered"} for run in scene.runs]
        folder = "." if scene.root == summary.output else scene.root.name
        scenes.append(
            {
                "name": scene.name,
                "folder": folder,
                "loop_length_m": scene.loop_length_m,
                "loop_extent_m": scene.loop_extent_m,
                "runs": runs,
            }
        )
    data = {"options": options.content(), "scenes": scenes}
    replace_text(summary.output / SUMMARY_FILE, json.dumps(data, indent=1) + "\n", "summary")
