"""The entry point of `hyperpose`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points

from hyperpose_core import __version__
from hyperpose_core.command_line import dying_of_interrupts, run_command
from hyperpose_core.large_imports import import_large

_NAME = "hyperpose"

# Summaries stand here since a verb's file may import torch, which takes seconds: only the file of the verb
# that is asked for is imported.
_VERBS = {
    "build": "make everything a robot needs, from a video or posed images",
    "train": "train a network on a dataset",
    "evaluate": "score a checkpoint on images whose poses are known",
    "predict": "estimate the poses of photographs",
    "info": "say what a checkpoint holds",
    "compress": "make a checkpoint smaller",
    "export": "write a checkpoint as an ONNX file for a faster runtime",
    "map": "build and look at landmark maps",
    "import": "turn weights released with the paper into a checkpoint",
    "reconstruct": "find the poses of images that have none",
    "simulate": "render a small simulated RobotCar",
    "dataset": "look at a dataset",
    "ecl": "make evening, winter and summer variants of test frames",
    "align": "fit where the trained world lies in a robot's map",
    "ablate": "train with and without hypernetwork and compare",
    "baseline": "score the nearest training frame, which a network has to beat",
    "stages": "say what each stage of a training brings",
    "reproduce": "make one of the paper's tables again",
}
_MODULES = {"import": "import_released"}  # a verb that cannot be a module's name

# Entry points of further verbs, which other packages bring: modules that have `SUMMARY`, a line for the list
# of verbs, and `add_parser`, as the files here have. The list imports them: what is large they import late.
_VERB_GROUP = "hyperpose.verbs"


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all verbs, of which one has its arguments, added by the verb's file.

    Args:
        verb: the one that is asked for; None leaves all of them without arguments. Verbs of other packages
            are looked for only where it is none of this package's.
    """
    parser = argparse.ArgumentParser(
        prog=_NAME,
        description="Train, evaluate and use HyperPose networks: a camera's pose from one image.",
    )
    parser.add_argument("--version", action="version", version=f"hyperpose {__version__}")
    subparsers = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, summary in _VERBS.items():
        if name == verb:
            import_large(f"hyperpose_core.cli.{_MODULES.get(name, name)}").add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary)
    if verb not in _VERBS:
        for entry_point in sorted(entry_points(group=_VERB_GROUP)):
            module = entry_point.load()
            if entry_point.name == verb:
                module.add_parser(subparsers)
            else:
                subparsers.add_parser(entry_point.name, help=module.SUMMARY)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        what `run_command` says of how the verb ended.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    # No option before the verb takes a value.
    verb = next((argument for argument in arguments if not argument.startswith("-")), None)
    return run_command(_NAME, lambda: _run(arguments, verb))


def _run(arguments: Sequence[str], verb: str | None) -> int:
    with dying_of_interrupts(_NAME):
        parser = build_parser(verb)
    parsed = parser.parse_args(arguments)
    return int(parsed.run(parsed))
