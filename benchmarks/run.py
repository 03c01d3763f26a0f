"""Measure everything and write `benchmarks/results.md`.

    python -m benchmarks.run                        # all sections, or those that an interrupted run has left
    python -m benchmarks.run networks growth        # these again; the others' figures stay
    python -m benchmarks.run --fresh                # all sections, whatever an interrupted run has done

Each section runs in a process of its own and leaves its figures in a JSON file below the working folder.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

_ROOT = Path(__file__).resolve().parents[1]

# A section's module is imported in its own process only.
SECTIONS = {
    "networks": "measure_networks",
    "hypernetwork_overhead": "measure_hypernetwork_overhead",
    "growth": "measure_growth",
    "batches": "measure_batches",
    "size_and_memory": "measure_size_and_memory",
    "accuracy": "measure_accuracy",
    "node_cost": "measure_node_cost",
    "under_load": "measure_under_load",
    "training_speed": "measure_training_speed",
    "cold_start": "measure_cold_start",
    "help": "measure_help",
}
"""The function of each section's module, in the order of the report."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and return 1 where a section failed."""
    parser = _command_line()
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.sections) - set(SECTIONS))
    if unknown:
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if options.one_section:
        _measure(options, options.sections[0])
        return 0
    failed = _measure_all(options)
    _write_report(options)
    print(f"report: {options.output}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _measure_all(options: argparse.Namespace) -> list[str]:
    """Measure each section in a process of its own; return those that failed."""
    run = _run_to_continue(options)
    names = options.sections or [name for name in SECTIONS if _run_of(options, name) != run]
    failed = []
    with tqdm(names, unit="section", disable=None) as progress:
        for name in progress:
            progress.set_description(name)
            command = [sys.executable, "-m", "benchmarks.run", name, "--one-section", "--run", run]
            done = subprocess.run([*command, *_passed_on(options)], cwd=_ROOT)
            if done.returncode:
                failed.append(name)
    if not failed and not options.sections:
        _unfinished(options).unlink(missing_ok=True)
    return failed


def _measure(options: argparse.Namespace, name: str) -> None:
    """Measure one section and keep what it says."""
    from benchmarks.context import Context
    from benchmarks.environment import describe_environment
    from benchmarks.results import Kept, Section

    measure: Callable[[Context], Section] = getattr(
        importlib.import_module(f"benchmarks.{name}"), SECTIONS[name]
    )
    context = Context(
        folder=options.work,
        quick=options.quick,
        checkpoint=options.checkpoint,
        data=options.data,
        multi_scene_checkpoint=options.multi_scene_checkpoint,
        multi_scene_data=options.multi_scene_data,
    )
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    begin = time.monotonic()
    section = measure(context)
    seconds = time.monotonic() - begin
    Kept(options.run, date, seconds, describe_environment(), section).write(_kept_file(options, name))


def _write_report(options: argparse.Namespace) -> None:
    from benchmarks.results import Kept, write_report

    kept = [Kept.read(_kept_file(options, name)) for name in SECTIONS]
    write_report(options.output, [one for one in kept if one is not None])


def _run_to_continue(options: argparse.Namespace) -> str:
    """Return the name of the run that was interrupted, or of a new one."""
    path = _unfinished(options)
    if path.is_file() and not options.fresh:
        return path.read_text(encoding="utf-8").strip()
    run = uuid.uuid4().hex
    # Of code that may have changed since.
    shutil.rmtree(options.work / "networks", ignore_errors=True)
    if not options.sections:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(run + "\n", encoding="utf-8")
    return run


def _run_of(options: argparse.Namespace, name: str) -> str | None:
    path = _kept_file(options, name)
    return json.loads(path.read_text(encoding="utf-8"))["run"] if path.is_file() else None


def _kept_file(options: argparse.Namespace, name: str) -> Path:
    return options.work / ("quick" if options.quick else "sections") / f"{name}.json"


def _unfinished(options: argparse.Namespace) -> Path:
    return _kept_file(options, name="x").with_name("unfinished_run")


def _passed_on(options: argparse.Namespace) -> list[str]:
    words = ["--work", str(options.work), *(["--quick"] if options.quick else [])]
    for name in ("checkpoint", "data", "multi_scene_checkpoint", "multi_scene_data"):
        value = getattr(options, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value.resolve())]
    return words


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--fresh", action="store_true", help="do not go on with an interrupted run")
    parser.add_argument("--quick", action="store_true", help="few repeats, to see whether everything runs")
    parser.add_argument("--output", type=Path, default=_ROOT / "benchmarks" / "results.md")
    parser.add_argument(
        "--work", type=Path, default=_ROOT / "build" / "benchmarks", help="folder for what is made on the way"
    )
    parser.add_argument("--checkpoint", type=Path, help="trained single-scene network (default: the demo's)")
    parser.add_argument("--data", type=Path, help="its dataset")
    parser.add_argument("--multi-scene-checkpoint", type=Path, help="trained multi-scene network")
    parser.add_argument("--multi-scene-data", type=Path, help="its dataset")
    parser.add_argument("--one-section", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
