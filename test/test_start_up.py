"""What a localizer says of its own start."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")

from localizer_helpers import Conversation  # noqa: E402
from ros_helpers import LONG_ENOUGH_S, ros_environment  # noqa: E402


def test_the_log_says_where_the_time_of_the_start_went(
    start: Callable[..., Conversation], tiny_checkpoint: Path
) -> None:
    localizer = start("starting", f"checkpoint:={tiny_checkpoint}", "device:=cpu")
    localizer.process.wait_for_output("after the process's start")
    output = localizer.process.output
    configured = re.search(
        r"configured in ([\d.]+) s: ([\d.]+) s importing, ([\d.]+) s loading the network, "
        r"([\d.]+) s warming it up",
        output,
    )
    ready = re.search(r"ready ([\d.]+) s after the process's start", output)
    assert configured is not None and ready is not None, output
    whole, *parts = (float(value) for value in configured.groups())
    assert sum(parts) <= whole + 0.2  # each is rounded
    assert whole <= float(ready[1]) + 0.1
    assert min(parts[0], whole) > 0


def test_importing_the_node_does_not_bring_torch_along() -> None:
    program = "import sys, hyperpose_ros.localizer.node; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=LONG_ENOUGH_S)


@pytest.mark.parametrize("program", ["localizer", "evaluator", "dataset_to_bag"])
@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.3])
def test_an_interruption_while_a_program_imports_leaves_no_traceback(
    program: str, delay_s: float, domain_id: int
) -> None:
    # As the installed script does it, which says when it has been reached.
    script = f"from hyperpose_ros.programs import {program}; print('begun', flush=True); {program}()"
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env=ros_environment(domain_id),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    # One moment more for the handler, which is set before anything is imported.
    time.sleep(0.02 + delay_s)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=LONG_ENOUGH_S)
    # On a quick machine the imports may be over already; then it is the program that ends.
    assert process.returncode in (130, 0, 1, 2), output
    assert "Traceback" not in output
