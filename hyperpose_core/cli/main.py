"""The entry point of `hyperpose`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from hyperpose_core import __version__
from hyperpose_core.cli import (
    ablate,
    align,
    baseline,
    dataset,
    ecl,
    evaluate,
    import_released,
    info,
    predict,
    reproduce,
    simulate,
    train,
)
from hyperpose_core.errors import HyperPoseError

USER_MISTAKE = 2
INTERRUPTED = 130

_VERBS = (
    train,
    evaluate,
    predict,
    info,
    import_released,
    simulate,
    dataset,
    ecl,
    align,
    ablate,
    baseline,
    reproduce,
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs; each verb's file adds its own."""
    parser = argparse.ArgumentParser(
        prog="hyperpose",
        description="Train, evaluate and use HyperPose networks: a camera's pose from one image.",
    )
    parser.add_argument("--version", action="version", version=f"hyperpose {__version__}")
    subparsers = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in _VERBS:
        verb.add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        0, or 2 for a mistake of the user's (said in one line), or 130 when interrupted.
    """
    parsed = build_parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except HyperPoseError as error:
        print(f"hyperpose: error: {error}", file=sys.stderr)
        return USER_MISTAKE
    except KeyboardInterrupt:
        print("hyperpose: interrupted", file=sys.stderr)
        return INTERRUPTED
