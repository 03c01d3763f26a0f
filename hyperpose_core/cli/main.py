"""The entry point of `hyperpose`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import entry_points

from hyperpose_core import __version__
from hyperpose_core.command_line import dying_of_interrupts, run_command
from hyperpose_core.large_imports import import_large

_NAME = "hyperpose"

# Summaries stand here: only the arguments of the verb that is asked for are imported, and what imports torch,
# which takes seconds, only when it runs.
_VERBS = {
    "build": "make everything a robot needs, from a video or posed images",
    "train": "train a network on a dataset",
    "evaluate": "score a checkpoint on images with known poses",
    "predict": "estimate the poses of images",
    "info": "describe a checkpoint",
    "compress": "make a checkpoint smaller",
    "export": "export a checkpoint to ONNX for a faster runtime",
    "map": "build and inspect landmark maps",
    "import": "convert weights released with the paper to a checkpoint",
    "reconstruct": "estimate poses of images by structure from motion",
    "simulate": "render a small simulated RobotCar",
    "dataset": "inspect a dataset",
    "ecl": "make evening, winter and summer variants of test frames",
    "align": "align the trained world with a robot's map",
    "ablate": "train with and without the hypernetwork and compare",
    "baseline": "score image retrieval, the baseline a network has to beat",
    "stages": "score each stage of a training",
    "reproduce": "reproduce one of the paper's tables",
}
_ARGUMENTS = "hyperpose_core.cli.arguments"
_MODULES = {"import": "import_released"}  # a verb that cannot be a module's name

# Entry points of further verbs, which other packages bring: modules that have `SUMMARY`, a line for the list
# of verbs, and `add_parser`, as the files in arguments/ have; its parser has a default for `run`, which takes
# the arguments and returns the exit code. The list imports them: what is large they import late.
_VERB_GROUP = "hyperpose.verbs"


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all verbs, of which one has its arguments, added by the verb's file in arguments/.

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
            import_module(f"{_ARGUMENTS}.{_MODULES.get(name, name)}").add_parser(subparsers)
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


def verb_names() -> list[str]:
    """Return the names of all verbs, those of other packages included."""
    return [*_VERBS, *sorted(entry_points(group=_VERB_GROUP).names)]


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
        parsed = build_parser(verb).parse_args(arguments)
        run = parsed.run if parsed.verb not in _VERBS else _function(parsed)
    return int(run(parsed))


def _function(parsed: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    """Import the file of a verb of this package and return its function: `run`, or an action's own."""
    module = import_large(f"{__package__}.{_MODULES.get(parsed.verb, parsed.verb)}")
    function: Callable[[argparse.Namespace], int] = getattr(module, getattr(parsed, "function", "run"))
    return function
