"""Light and season of a run, as data."""

from __future__ import annotations

from dataclasses import dataclass

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Condition:
    """How a town looks on one day. Colours are RGB in 0..1.

    Attributes:
        name: what reports call it.
        date: day and time, which begin the run's folder name ("2025-06-12-12-03").
        sun_azimuth_deg: where the sun stands, degrees clockwise from grid north.
        sun_elevation_deg: degrees above the horizon.
        sun: light of the sun on a surface facing it.
        ambient: light of the sky.
        zenith: colour of the sky overhead.
        horizon: colour of the sky at the horizon; distant things fade to it.
        clouds: how much of the sky is covered, 0..1.
        visibility_m: distance in metres at which 63% of a thing's colour has turned to haze; 0 for clear air.
        snow: how much of what faces up is white, 0..1.
        leaves: colours of the trees' crowns.
        grass: colour of lawns.
        fallen_leaves: share of the ground under trees that leaves cover, 0..1.
        window_glow: share of windows with a lamp behind them, 0..1.
        gain: of the camera.
        white_balance: of the camera, by channel.
        noise: standard deviation of the pixel noise at half brightness, in grey levels of 255.
    """

    name: str
    date: str
    sun_azimuth_deg: float
    sun_elevation_deg: float
    sun: Color
    ambient: Color
    zenith: Color
    horizon: Color
    clouds: float
    visibility_m: float = 0.0
    snow: float = 0.0
    leaves: tuple[Color, ...] = ((0.30, 0.47, 0.18), (0.24, 0.42, 0.20), (0.38, 0.50, 0.16))
    grass: Color = (0.36, 0.50, 0.22)
    fallen_leaves: float = 0.0
    window_glow: float = 0.0
    gain: float = 1.0
    white_balance: Color = (1.0, 1.0, 1.0)
    noise: float = 2.0


_AUTUMN_LEAVES = ((0.80, 0.47, 0.12), (0.71, 0.28, 0.12), (0.86, 0.66, 0.20), (0.52, 0.47, 0.16))
_BARE_LEAVES = ((0.55, 0.50, 0.46), (0.62, 0.58, 0.55))
_SPRING_LEAVES = ((0.47, 0.62, 0.24), (0.40, 0.57, 0.26), (0.87, 0.70, 0.76))

_ALL = (
    Condition(
        name="noon",
        date="2025-06-12-12-03",
        sun_azimuth_deg=190.0,
        sun_elevation_deg=56.0,
        sun=(0.62, 0.60, 0.55),
        ambient=(0.40, 0.42, 0.46),
        zenith=(0.26, 0.47, 0.80),
        horizon=(0.72, 0.83, 0.93),
        clouds=0.25,
        gain=1.22,
    ),
    Condition(
        name="overcast",
        date="2025-04-24-09-47",
        sun_azimuth_deg=120.0,
        sun_elevation_deg=40.0,
        sun=(0.07, 0.07, 0.07),
        ambient=(0.70, 0.72, 0.75),
        zenith=(0.60, 0.63, 0.68),
        horizon=(0.80, 0.82, 0.84),
        clouds=0.95,
        visibility_m=260.0,
        leaves=_SPRING_LEAVES,
        gain=1.15,
        white_balance=(0.97, 1.0, 1.04),
        noise=2.4,
    ),
    Condition(
        name="dusk",
        date="2025-09-03-19-31",
        sun_azimuth_deg=278.0,
        sun_elevation_deg=11.0,
        sun=(0.52, 0.33, 0.17),
        ambient=(0.37, 0.36, 0.47),
        zenith=(0.22, 0.26, 0.47),
        horizon=(0.93, 0.62, 0.42),
        clouds=0.4,
        leaves=((0.32, 0.42, 0.17), (0.40, 0.43, 0.18)),
        window_glow=0.45,
        gain=1.5,
        white_balance=(1.05, 0.98, 0.95),
        noise=4.5,
    ),
    Condition(
        name="snow",
        date="2026-01-15-11-20",
        sun_azimuth_deg=165.0,
        sun_elevation_deg=18.0,
        sun=(0.22, 0.21, 0.19),
        ambient=(0.58, 0.62, 0.68),
        zenith=(0.66, 0.70, 0.76),
        horizon=(0.86, 0.88, 0.90),
        clouds=0.8,
        visibility_m=150.0,
        snow=0.85,
        leaves=_BARE_LEAVES,
        grass=(0.80, 0.82, 0.80),
        gain=1.14,
        white_balance=(0.97, 1.0, 1.05),
        noise=2.6,
    ),
    Condition(
        name="autumn",
        date="2025-10-28-14-12",
        sun_azimuth_deg=228.0,
        sun_elevation_deg=24.0,
        sun=(0.52, 0.46, 0.36),
        ambient=(0.42, 0.43, 0.46),
        zenith=(0.36, 0.52, 0.76),
        horizon=(0.86, 0.84, 0.78),
        clouds=0.5,
        leaves=_AUTUMN_LEAVES,
        grass=(0.44, 0.46, 0.22),
        fallen_leaves=0.35,
        gain=1.32,
        white_balance=(1.03, 1.0, 0.96),
        noise=2.4,
    ),
    Condition(
        name="morning",
        date="2025-05-19-07-15",
        sun_azimuth_deg=92.0,
        sun_elevation_deg=20.0,
        sun=(0.50, 0.45, 0.36),
        ambient=(0.42, 0.44, 0.48),
        zenith=(0.42, 0.57, 0.78),
        horizon=(0.88, 0.86, 0.80),
        clouds=0.15,
        visibility_m=110.0,
        leaves=_SPRING_LEAVES,
        gain=1.15,
        noise=3.0,
    ),
)

CONDITIONS: dict[str, Condition] = {condition.name: condition for condition in _ALL}
