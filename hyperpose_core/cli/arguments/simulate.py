"""Arguments of `hyperpose simulate`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from hyperpose_core.simulation.conditions import CONDITIONS
from hyperpose_core.simulation.options import SCENE_NAMES, SimulationOptions


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    defaults = SimulationOptions()
    parser = subparsers.add_parser(
        "simulate",
        description="Drive around a simulated block of streets several times, in different light and season, "
        "and write what the camera, INS, GPS and visual odometry see in the layout of Oxford RobotCar. Runs "
        "that are there already are kept.",
    )
    parser.add_argument("output", type=Path, help="folder to write, new or from an earlier simulation")
    known = ", ".join(CONDITIONS)
    parser.add_argument(
        "--train",
        nargs="+",
        metavar="CONDITION",
        default=defaults.train,
        help=f"light and season of each training run, of {known} (default: {' '.join(defaults.train)})",
    )
    parser.add_argument(
        "--test",
        nargs="+",
        metavar="CONDITION",
        default=defaults.test,
        help=f"light and season of each test run (default: {' '.join(defaults.test)})",
    )
    parser.add_argument(
        "--scenes",
        type=int,
        default=defaults.scenes,
        help=f"how many towns, up to {len(SCENE_NAMES)}; with several each is a folder of its own "
        "(default: %(default)s)",
    )
    _add_size_arguments(parser, defaults)
    parser.add_argument("--seed", type=int, default=defaults.seed, help="another number makes another town")
    parser.add_argument(
        "--workers", type=int, default=defaults.workers, help="processes that render (default: %(default)s)"
    )


def _add_size_arguments(parser: argparse.ArgumentParser, defaults: SimulationOptions) -> None:
    parser.add_argument(
        "--frames", type=int, default=defaults.frames, help="images a run (default: %(default)s)"
    )
    parser.add_argument(
        "--size",
        type=_two(int),
        metavar="WIDTHxHEIGHT",
        default=(defaults.width, defaults.height),
        help=f"of the images in pixels (default: {defaults.width}x{defaults.height})",
    )
    parser.add_argument(
        "--block",
        type=_two(float),
        metavar="LENGTHxWIDTH",
        default=(defaults.length_m, defaults.width_m),
        help=f"sides of the loop in metres (default: {defaults.length_m:g}x{defaults.width_m:g})",
    )
    parser.add_argument(
        "--speed", type=float, default=defaults.speed_m_s, help="metres a second (default: %(default)g)"
    )


def _two(kind: type) -> Callable[[str], tuple[float, float]]:
    """Return a parser of "AxB"."""

    def parse(text: str) -> tuple[float, float]:
        first, _, second = text.lower().partition("x")
        try:
            return kind(first), kind(second)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not two numbers with an x between them") from None

    return parse
