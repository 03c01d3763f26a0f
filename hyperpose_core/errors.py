"""The one exception that stands for a user's mistake."""

from __future__ import annotations


class HyperPoseError(Exception):
    """A mistake in what the user gave: one line that names what is wrong, where, and what would be right.

    Command-line tools print it as it is and exit with code 2; nodes log it and go on.
    """
