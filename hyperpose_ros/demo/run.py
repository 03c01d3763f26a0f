"""`make demo`: from nothing to a scored localizer, with the same programs that a user runs.

Simulates a small RobotCar, trains on it, builds a landmark map of a part of the training images, writes its
unseen runs as bags, replays them over DDS into the localizer in a process of its own, scores that with the
evaluator, the network's poses and those that the map verifies, and then the same frames offline. What an
earlier call made is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hyperpose_core.files import replace_text
from hyperpose_core.command_line import run_command
from hyperpose_core.datasets import open_dataset
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation import score
from hyperpose_core.evaluation.refined_scores import score_refined
from hyperpose_core.evaluation.tum import ESTIMATE_FILE, REFINED_FILE
from hyperpose_core.geometry.poses import orientation_errors_deg
from hyperpose_core.refinement.checkpoint_map import map_beside
from hyperpose_ros.common.child_process import child_environment, running
from hyperpose_ros.demo.report import read_replays, write_demo_report

_NAME = "demo"
_IMAGE_TOPIC = "/camera/image_raw"
_TRUTH_TOPIC = "/ground_truth/pose"
_UNSEEN = ("autumn", "morning")
# Every second training image, of all light and seasons: half the time to build, and the same errors.
_MAP_IMAGES = 560


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code: 0, 2 where a step failed, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog=_NAME, description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder for everything [demo]")
    parser.add_argument("--recipe", default="demo", help="a shipped recipe's name or a YAML file [demo]")
    parser.add_argument("--frames", type=int, default=280, help="simulated images a run [280]")
    parsed = parser.parse_args(arguments)
    return run_command(_NAME, lambda: _run(parsed.output, parsed.recipe, parsed.frames))


def _run(output: Path, recipe: str, frames: int) -> int:
    start = time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    town, training = output / "town", output / "training"
    checkpoint = training / "best.safetensors"

    _say("1/5", "simulating a small RobotCar: training runs, and unseen ones in other light on other lines")
    _call("hyperpose_core", "simulate", str(town), "--frames", str(frames), "--test", *_UNSEEN)
    _say("2/5", "training HyperPose on the training runs, and building the landmark map of half their images")
    split = ["--data", str(town), "--split", "train", "--map-images", str(_MAP_IMAGES)]
    _call("hyperpose_core", "train", *split, "--recipe", recipe, "--output", str(training), "--resume")
    replays = {}
    for run in (town / "test_split.txt").read_text(encoding="utf-8").split():
        bag, replays[run] = output / "bags" / run, output / "replays" / run
        _say("3/5", f"writing the unseen run {run} as a bag")
        to_bag = ["--data", str(town), "--run", run, "--checkpoint", str(checkpoint), "--overwrite"]
        _call("hyperpose_ros.bags.robotcar_to_bag", str(bag), *to_bag)
        _say("4/5", "replaying the bag into the localizer and scoring its poses")
        _replay(bag, checkpoint, replays[run])
    _say("5/5", "scoring the same frames offline")
    offline = ["--data", str(town), "--split", "test", "--output", str(output / "offline")]
    _call("hyperpose_core", "evaluate", str(checkpoint), *offline)
    _finish(output, replays, time.monotonic() - start)
    return 0


def _replay(bag: Path, checkpoint: Path, report: Path) -> None:
    """Play a bag into a localizer and an evaluator, each in a process of its own."""
    extrinsics = bag.with_name(f"{bag.name}_extrinsics.yaml")
    _call("hyperpose_ros.bags.camera_extrinsics", str(bag), "--output", str(extrinsics))
    localizer = ["--params-file", str(extrinsics), "-p", f"checkpoint:={checkpoint}"]
    # The network's poses stay on ~/pose, the map's are on ~/verified_pose: both are scored.
    localizer += ["-p", f"map:={map_beside(checkpoint)}", "-p", "refinement:=verify"]
    evaluator = ["-p", f"output_directory:={report}", "-p", f"title:=Unseen run {bag.name}, replayed"]
    with (
        running("hyperpose_ros.evaluator.node", ["--ros-args", *evaluator]) as scoring,
        running("hyperpose_ros.localizer.node", ["--ros-args", *localizer, "-r", f"image:={_IMAGE_TOPIC}"]),
    ):
        # In step with what network and map say: on a slow machine the replay takes longer, but no frame is
        # dropped by either.
        waiting = ["--wait-for-subscribers", _IMAGE_TOPIC, _TRUTH_TOPIC, "--wait-timeout", "120"]
        waiting += ["--in-step-with", "/localizer/status", "--answers", "2"]
        _call("hyperpose_ros.bags.player", str(bag), "--rate", "2", *waiting)
        if scoring.wait(timeout=120) != 0:
            raise HyperPoseError("the evaluator wrote no report")


def _finish(output: Path, replays: Mapping[str, Path], seconds: float) -> None:
    """Write and print what the demo shows."""
    town = output / "town"
    training, test = (open_dataset(town, split=split) for split in ("train", "test"))
    scene = json.loads((town / "simulation.json").read_text(encoding="utf-8"))["scenes"][0]
    distances = np.linalg.norm(test.positions()[:, None] - training.positions()[None], axis=2)
    nearest = training.orientations()[distances.argmin(axis=1)]
    counters = [_metadata(folder) for folder in replays.values()]
    scores = score(read_replays(replays, test, ESTIMATE_FILE)).overall
    refined = score_refined(read_replays(replays, test, REFINED_FILE))
    of_map = None if refined.scores is None else refined.scores.overall
    results = {
        "frames_replayed": len(test.images),
        **{
            name: sum(int(run[name]) for run in counters)
            for name in ("frames_received", "frames_dropped", "frames_scored")
        },
        "position_error_median_m": scores.position_m.median,
        "orientation_error_median_deg": scores.orientation_deg.median,
        "refined_position_error_median_m": None if of_map is None else of_map.position_m.median,
        "refined_orientation_error_median_deg": None if of_map is None else of_map.orientation_deg.median,
        "verified_share": refined.verified_share,
        "map_images": min(_MAP_IMAGES, len(training.images)),
        "loop_length_m": scene["loop_length_m"],
        "loop_extent_m": scene["loop_extent_m"],
        "nearest_train_m": float(np.median(distances.min(axis=1))),
        "nearest_train_deg": float(np.median(orientation_errors_deg(nearest, test.orientations()))),
        "seconds": round(seconds, 1),
    }
    replace_text(output / "results.json", json.dumps(results, indent=2) + "\n", "results")
    report = write_demo_report(output / "report", replays, training, test, results)
    print("\nthe unseen runs, replayed over DDS:")
    for name, value in results.items():
        print(f"  {name:37} {value:.3f}" if isinstance(value, float) else f"  {name:37} {value}")
    print(f"\nresults: {output / 'results.json'}\nreport:  {report}")


def _metadata(replay: Path) -> dict[str, Any]:
    metadata: dict[str, Any] = json.loads((replay / "results.json").read_text(encoding="utf-8"))["metadata"]
    return metadata


def _call(module: str, *arguments: str) -> None:
    """Run one of the package's programs to its end; its progress goes to the terminal."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], env=child_environment(), check=False)
    if done.returncode:
        raise HyperPoseError(f"the step above failed (exit code {done.returncode})")


def _say(step: str, text: str) -> None:
    print(f"\n[{step}] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
