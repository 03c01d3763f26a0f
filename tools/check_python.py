"""Says in one line why this Python or this machine cannot hold the project's virtual environment.

It has to run, and to say so, under any Python that somebody may have: so neither f-strings nor type hints.
"""

import os
import platform
import sys
import sysconfig

OLDEST = (3, 10)
NEWEST = (3, 13)


def find_obstacle():
    """Return what is in the way and what to do about it, or None."""
    found = "Python %d.%d (%s)" % (sys.version_info[0], sys.version_info[1], sys.executable)  # noqa: UP031
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return found + " is not 3.10 to 3.13: name one that is, as in `make PYTHON=python3.12 ...`"
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return "the ROS 2 wheels are for Linux on x86_64: here, install a ROS 2 distribution and use colcon"
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return found + " cannot make virtual environments: `apt install python3-venv`, or another PYTHON=..."
    if not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")):
        return found + " came without its C headers: `apt install python3-dev`, or another PYTHON=..."
    from shutil import which

    if which(os.environ.get("CXX") or "c++") is None:
        return "there is no C++ compiler: `apt install g++`"
    return None


if __name__ == "__main__":
    obstacle = find_obstacle()
    if obstacle:
        sys.exit("error: " + obstacle)
