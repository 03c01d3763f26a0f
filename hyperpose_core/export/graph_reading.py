"""From an ONNX file's bytes to OpenVINO's graph; first in a process of its own where they are not trusted.

Run as a program it reads a file's bytes from standard input, compiles the graph and runs it once. OpenVINO's
reader holds Python's lock, and what it is given can keep it at work for ever, or end the process.
"""

from __future__ import annotations

import ctypes
import io
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.limits import LARGEST_INPUT_PIXELS

if TYPE_CHECKING:
    import openvino

RUNTIME_HINT = "exported networks need OpenVINO, which is not installed: pip install openvino"

LONGEST_TRIAL_S = 120
"""Seconds, of time and of computing: many times what the largest network takes on a small robot."""

_LARGEST_TRIAL_BYTES = 8 << 30
_REFUSED = 2
_PARENT_DEATH_SIGNAL = 1  # of Linux's prctl


def read_graph(data: bytes, origin: str = "the graph made in memory") -> openvino.Model:
    """Read an ONNX graph.

    Args:
        data: the model's bytes.
        origin: what to call it in an error.

    Raises:
        HyperPoseError: the graph is damaged or has something that OpenVINO does not know; or OpenVINO is not
            installed.
    """
    try:
        from openvino.frontend import FrontEndManager
    except ImportError as error:
        raise HyperPoseError(RUNTIME_HINT) from error
    # By name: Core.read_model would try every format that it knows on a foreign file.
    frontend = FrontEndManager().load_by_framework("onnx")
    try:
        return frontend.convert(frontend.load(io.BytesIO(data)))
    except Exception as error:  # those of the frontends have no base of their own
        raise HyperPoseError(f"{origin}: damaged, or not an ONNX file: {first_line(error)}") from error


def try_graph(data: bytes, origin: str, longest_s: float = LONGEST_TRIAL_S) -> None:
    """Read, compile and run a graph in a process of its own, which may take long, take too much or crash.

    Other threads of this process go on meanwhile.

    Args:
        data: the model's bytes.
        origin: what to call it in an error.
        longest_s: seconds after which it is given up.

    Raises:
        HyperPoseError: none of these worked, or not in time.
    """
    command = [sys.executable, "-m", "hyperpose_core.export.graph_reading", str(int(longest_s) + 1)]
    try:
        ended = subprocess.run(
            command, input=data, capture_output=True, timeout=longest_s, check=False, env=_environment()
        )
    except subprocess.TimeoutExpired:
        raise HyperPoseError(f"{origin}: OpenVINO did not get done with it in {longest_s:g} s") from None
    except OSError as error:
        raise HyperPoseError(f"{origin}: cannot be tried: {error.strerror or error}") from error
    if ended.returncode != 0:
        said = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        by_itself = ended.returncode == _REFUSED and said
        reason = said if by_itself else f"OpenVINO breaks down over it (exit code {ended.returncode})"
        raise HyperPoseError(f"{origin}: {reason}")


def first_line(error: BaseException) -> str:
    """Give what an error of OpenVINO says, without where in its sources that was found."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    internal = ("Exception from", "Check", "FrontEnd API")
    return next((line for line in lines if not line.startswith(internal)), type(error).__name__)


def _environment() -> dict[str, str]:
    """Return this process's environment, in which the other one finds this package."""
    package_parent = str(Path(__file__).resolve().parents[2])
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [package_parent, known]))}


def main() -> int:
    """Try the graph on standard input: 0 where it works, else 2 with the reason on standard error."""
    longest_s = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CPU, (longest_s, longest_s))
    resource.setrlimit(resource.RLIMIT_DATA, (_LARGEST_TRIAL_BYTES, _LARGEST_TRIAL_BYTES))
    # Nobody else would end it where the node is ended meanwhile.
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    try:
        _run_once(read_graph(sys.stdin.buffer.read(), "the file"))
    except HyperPoseError as error:
        print(str(error).removeprefix("the file: "), file=sys.stderr)
        return _REFUSED
    except (RuntimeError, MemoryError) as error:
        print(f"OpenVINO cannot run the network: {first_line(error)}", file=sys.stderr)
        return _REFUSED
    return 0


def _run_once(graph: openvino.Model) -> None:
    import numpy as np
    import openvino

    sizes = [
        [1 if length.is_dynamic else length.get_length() for length in port.get_partial_shape()]
        for port in graph.inputs
    ]
    if any(np.prod([float(length) for length in size]) > 3 * LARGEST_INPUT_PIXELS for size in sizes):
        raise HyperPoseError(f"an input of more than {LARGEST_INPUT_PIXELS:,} pixels")
    request = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_NUM_THREADS": 1}).create_infer_request()
    request.infer([np.zeros(size, np.float32) for size in sizes])


if __name__ == "__main__":
    sys.exit(main())
