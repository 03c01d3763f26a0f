"""Draw the pictures of the README into docs/images: `make pictures`, after `make demo`.

`demo.png` shows what the demo's report shows first; `node.svg` the topics and services of a localizer with
the demo's network, as ROS tells them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import rclpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rclpy.node import Node

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation.plot_style import INK, MUTED, POSITION, REFINED, TRUTH, new_figure, style_axes

NODE_NAME = "localizer"
# What every node has, and what is talked about here.
_OF_EVERY_NODE = ("rosout", "parameter_events", "parameter", "type_description", "logger_level")
_LIFECYCLE = ("change_state", "get_state", "get_available", "get_transition", "transition_event")
_LONGEST_START_S = 120.0


@dataclass(frozen=True)
class Interfaces:
    """What a node has: names and types.

    Attributes:
        subscribed: topics that it listens to.
        published: topics that it says something on.
        services: that it offers.
    """

    subscribed: list[tuple[str, str]]
    published: list[tuple[str, str]]
    services: list[tuple[str, str]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw both; return 2 where the demo has not run."""
    parser = argparse.ArgumentParser(description="Draw the pictures of the README.")
    parser.add_argument("--demo", type=Path, default=Path("demo"), help="folder of a finished demo")
    parser.add_argument("--output", type=Path, default=Path("docs/images"), help="folder for the pictures")
    options = parser.parse_args(arguments)
    if not (options.demo / "report" / "results.json").is_file():
        print(f"error: {options.demo}/report: no results; run `make demo` first", file=sys.stderr)
        return 2
    options.output.mkdir(parents=True, exist_ok=True)
    draw_demo(options.demo / "report").savefig(options.output / "demo.png", dpi=110)
    with running_localizer(options.demo / "training" / "best.safetensors") as node:
        interfaces = read_interfaces(node)
    # Text stays text, and an equal input gives an equal file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "hyperpose_ros"}):
        draw_node(interfaces).savefig(options.output / "node.svg", metadata={"Date": None})
    return 0


def draw_demo(report: Path) -> Figure:
    """Draw the unseen drives from above, as the network and the map place them, and both ones' errors."""
    results = json.loads((report / "results.json").read_text())["metadata"]
    truth, network, refined = (
        np.loadtxt(report / f"{name}.tum") for name in ("ground_truth", "estimate", "refined")
    )
    figure = new_figure(10.5, 4.4)
    above, errors = figure.subplots(1, 2, width_ratios=[3, 2])
    above.plot(*truth[:, 1:3].T, ".", color=TRUTH, markersize=9, label="ground truth")
    above.plot(*network[:, 1:3].T, ".", color=POSITION, markersize=4, label="network")
    above.plot(*refined[:, 1:3].T, ".", color=REFINED, markersize=4, label="landmark map, verified")
    above.set_aspect("equal")
    above.set_xlabel("x (m)")
    above.set_ylabel("y (m)")
    style_axes(above, f"{results['frames_scored']} frames of drives in light and season unseen in training")
    above.legend(frameon=False, fontsize=9, loc="center")
    for name, poses, colour, median in (
        ("network", network, POSITION, results["position_error_median_m"]),
        ("map", refined, REFINED, results["refined_position_error_median_m"]),
    ):
        _draw_errors(errors, truth, poses, colour, f"{name}, median {median:.2f} m")
    errors.set_xscale("log")
    errors.set_xlabel("position error (m)")
    errors.set_ylabel("frames (%)")
    style_axes(errors, f"{results['verified_share']:.0%} of the poses verified by the map")
    errors.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return figure


def _draw_errors(axes: Axes, truth: np.ndarray, poses: np.ndarray, colour: str, label: str) -> None:
    nearest = np.abs(truth[:, :1] - poses[:, 0]).argmin(axis=0)
    errors = np.sort(np.linalg.norm(poses[:, 1:4] - truth[nearest, 1:4], axis=1))
    axes.plot(errors, np.linspace(0, 100, len(errors)), color=colour, linewidth=2, label=label)


@contextmanager
def running_localizer(checkpoint: Path) -> Iterator[Node]:
    """Run a localizer that has all it can say, and give a node that sees it.

    Raises:
        HyperPoseError: it did not become active.
    """
    parameters = {
        "checkpoint": str(checkpoint),
        "odometry_source": "topic",
        "camera_extrinsics": "[0.1, 0.0, 0.2, 0.0, 0.0, 0.0]",
    }
    command = [sys.executable, "-m", "hyperpose_ros.localizer.node", "--ros-args"]
    command += [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    rclpy.init(domain_id=int(os.environ.get("ROS_DOMAIN_ID", "0")))
    process = subprocess.Popen(command)
    node = Node("onlooker")
    try:
        _wait_until_visible(node, process)
        yield node
    finally:
        process.terminate()
        process.wait()
        node.destroy_node()
        rclpy.shutdown()


def _wait_until_visible(node: Node, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _LONGEST_START_S
    while NODE_NAME not in node.get_node_names() or not node.get_subscriptions_info_by_topic("/image"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise HyperPoseError("the localizer did not become active")
        time.sleep(0.2)
    time.sleep(2.0)  # what else it has is told of by and by


def read_interfaces(node: Node) -> Interfaces:
    """Ask ROS what the localizer has."""
    return Interfaces(
        _own(node.get_subscriber_names_and_types_by_node(NODE_NAME, "/")),
        _own(node.get_publisher_names_and_types_by_node(NODE_NAME, "/")),
        _own(node.get_service_names_and_types_by_node(NODE_NAME, "/")),
    )


def _own(named: Sequence[tuple[str, list[str]]]) -> list[tuple[str, str]]:
    """Leave out what every node has, and write names below the node's with a tilde."""
    ordinary = (*_OF_EVERY_NODE, *_LIFECYCLE)
    return [
        (name.replace(f"/{NODE_NAME}/", "~/"), types[0].replace("/msg/", "/").replace("/srv/", "/"))
        for name, types in sorted(named)
        if not any(word in name for word in ordinary)
    ]


def draw_node(interfaces: Interfaces) -> Figure:
    """Draw a node between what it listens to and what it says; services below it."""
    height = max(len(interfaces.subscribed), len(interfaces.published))
    below = 0.55 * (len(interfaces.services) + 1)
    figure = Figure(figsize=(10.5, 0.42 * (height + below)), facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, 10)
    axes.set_ylim(-below, height)
    middle = height / 2
    box = {"boxstyle": "round,pad=0.9", "facecolor": POSITION, "edgecolor": "none"}
    axes.text(5, middle, NODE_NAME, ha="center", va="center", color="white", fontsize=14, bbox=box)
    for topics, edge, side in ((interfaces.subscribed, 3.2, -1), (interfaces.published, 6.8, 1)):
        start = middle + (len(topics) - 1) / 2
        for index, (name, kind) in enumerate(topics):
            _draw_topic(axes, name, kind, edge, start - index, side)
            ends = [(5 + 0.7 * side, middle), (edge - 0.1 * side, start - index)]
            tail, head = ends[::side]
            axes.annotate("", head, tail, arrowprops={"arrowstyle": "->", "color": MUTED})
    lines = ["services", *(f"{name}   {kind}" for name, kind in interfaces.services)]
    for index, line in enumerate(lines):
        axes.text(5, -0.55 * index, line, ha="center", va="center", color=INK if index else MUTED, fontsize=9)
    return figure


def _draw_topic(axes: Axes, name: str, kind: str, x: float, y: float, side: int) -> None:
    alignment = "right" if side < 0 else "left"
    axes.text(x, y + 0.16, name, ha=alignment, va="center", color=INK, fontsize=10, weight="bold")
    axes.text(x, y - 0.2, kind, ha=alignment, va="center", color=MUTED, fontsize=8)


if __name__ == "__main__":
    raise SystemExit(main())
