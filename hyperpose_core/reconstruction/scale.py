"""How long a model's unit is: what was found, from what, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.similarity import Similarity

WIDEST_DEVIATION = 0.2
"""A scale that is less sure than that is none."""


class ScaleError(HyperPoseError):
    """A model's unit could not be found in a way asked for; the model is as good as before."""


@dataclass(frozen=True, eq=False)
class ScaleEstimate:
    """Metres a unit of a model, by one way of finding it.

    Attributes:
        origin: what it was found from, for people: "14 tags of 0.16 m".
        metres_per_unit: how long the model's unit is.
        deviation: its standard deviation as a share of it; None where one measurement says nothing of it.
        placed: where the model lies in the frame of a track, metres; None where only the scale was found.
        frame: what that frame is, for people; empty without `placed`.
        detail: what else to say of it.
    """

    origin: str
    metres_per_unit: float
    deviation: float | None
    placed: Similarity | None = None
    frame: str = ""
    detail: str = ""

    def __post_init__(self) -> None:
        """Refuse a scale that is none.

        Raises:
            ScaleError: it is so unsure that it would mislead.
        """
        if self.deviation is not None and not self.deviation < WIDEST_DEVIATION:
            raise ScaleError(
                f"{self.origin}: fixes the scale to {100.0 * self.deviation:.0f}% only, so it is not used"
            )


def best_scale(estimates: Sequence[ScaleEstimate]) -> ScaleEstimate | None:
    """Return the estimate to use: the surest that places the model in a track's frame, else the surest.

    One whose deviation is not known comes last.
    """
    return min(
        estimates,
        key=lambda one: (
            one.placed is None,
            one.deviation if one.deviation is not None else WIDEST_DEVIATION,
        ),
        default=None,
    )


def disagreements(estimates: Sequence[ScaleEstimate], chosen: ScaleEstimate) -> list[str]:
    """Say, one line each, which estimates differ from the chosen one by more than both allow."""
    lines = []
    for other in estimates:
        ratio = other.metres_per_unit / chosen.metres_per_unit - 1.0
        allowed = 3.0 * sum(one.deviation or 0.01 for one in (other, chosen))
        if other is not chosen and abs(ratio) > allowed:
            lines.append(f"{other.origin}: says {100.0 * ratio:+.1f}% against {chosen.origin}")
    return lines
