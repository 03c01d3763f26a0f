"""The frame that poses live in, and where it lies on earth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hyperpose_core.geometry.poses import Array


@dataclass(frozen=True, eq=False)
class World:
    """The frame that poses live in.

    Attributes:
        description: what the frame is, for people: "7Scenes redkitchen", "local east-north-up".
        origin: where local (0, 0, 0) lies in the outer frame, float64 [3], metres; (easting, northing, up) if
            `utm_zone` is known. Networks, messages and reports carry local values.
        utm_zone: the outer frame's UTM zone ("30U"), or None where the outer frame isn't UTM.
        up: unit vector that points up in the local frame, or None where it is not known.
        is_metric: whether lengths are metres; False where only their ratios are known, as from images alone.
    """

    description: str = ""
    origin: Array = field(default_factory=lambda: np.zeros(3))
    utm_zone: str | None = None
    up: tuple[float, float, float] | None = None
    is_metric: bool = True

    @property
    def unit_note(self) -> str:
        """What to say where lengths are called metres and are none; empty where they are metres."""
        return (
            "" if self.is_metric else "the unit of this world is not known: what is called metres here is not"
        )

    def to_dict(self) -> dict[str, object]:
        """Return plain data that JSON can hold, float64 kept exactly."""
        return {
            "description": self.description,
            "origin": [float(value) for value in self.origin],
            "utm_zone": self.utm_zone,
            "up": None if self.up is None else list(self.up),
            "is_metric": self.is_metric,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> World:
        """Build from what `to_dict` gave.

        Raises:
            ValueError: the origin or the upward direction is not three finite numbers.
        """
        up, origin = data["up"], np.asarray(data["origin"], dtype=np.float64)
        for vector in (origin, np.asarray([0.0, 0.0, 1.0] if up is None else up, dtype=np.float64)):
            if vector.shape != (3,) or not np.isfinite(vector).all():
                raise ValueError(f"a world's origin and up are three finite numbers, not {vector.tolist()}")
        return cls(
            description=str(data["description"]),
            origin=origin,
            utm_zone=None if data["utm_zone"] is None else str(data["utm_zone"]),
            up=None if up is None else tuple(float(value) for value in up),  # type: ignore[arg-type, attr-defined]
            # Files from before there were worlds of an unknown unit do not say it.
            is_metric=bool(data.get("is_metric", True)),
        )
