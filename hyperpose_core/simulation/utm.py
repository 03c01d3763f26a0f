"""From the UTM grid to latitude and longitude (WGS 84), and between grid north and true north."""

from __future__ import annotations

import numpy as np

_SEMI_MAJOR_AXIS_M = 6378137.0
_FLATTENING = 1.0 / 298.257223563
_SCALE = 0.9996
_FALSE_EASTING_M = 500000.0


def utm_to_geodetic(easting: float, northing: float, zone: int) -> tuple[float, float]:
    """Return latitude and longitude in degrees of a point of the northern hemisphere.

    Krueger's series to the third power of the third flattening: exact to a millimetre within a zone.
    """
    n = _FLATTENING / (2.0 - _FLATTENING)
    rectifying_radius = _SEMI_MAJOR_AXIS_M / (1.0 + n) * (1.0 + n**2 / 4.0 + n**4 / 64.0)
    xi = northing / (_SCALE * rectifying_radius)
    eta = (easting - _FALSE_EASTING_M) / (_SCALE * rectifying_radius)
    beta = (
        n / 2.0 - 2.0 / 3.0 * n**2 + 37.0 / 96.0 * n**3,
        n**2 / 48.0 + n**3 / 15.0,
        17.0 / 480.0 * n**3,
    )
    xi_sphere, eta_sphere = xi, eta
    for order, coefficient in enumerate(beta, start=1):
        xi_sphere -= coefficient * np.sin(2 * order * xi) * np.cosh(2 * order * eta)
        eta_sphere -= coefficient * np.cos(2 * order * xi) * np.sinh(2 * order * eta)
    conformal_latitude = np.arcsin(np.sin(xi_sphere) / np.cosh(eta_sphere))
    delta = (
        2.0 * n - 2.0 / 3.0 * n**2 - 2.0 * n**3,
        7.0 / 3.0 * n**2 - 8.0 / 5.0 * n**3,
        56.0 / 15.0 * n**3,
    )
    latitude = conformal_latitude + sum(
        coefficient * np.sin(2 * order * conformal_latitude)
        for order, coefficient in enumerate(delta, start=1)
    )
    longitude = np.arctan2(np.sinh(eta_sphere), np.cos(xi_sphere))
    return float(np.degrees(latitude)), float(np.degrees(longitude)) + _central_meridian_deg(zone)


def grid_convergence(latitude_deg: float, longitude_deg: float, zone: int) -> float:
    """Return the angle from true north to grid north, radians: grid bearing = true bearing - convergence."""
    difference = np.radians(longitude_deg - _central_meridian_deg(zone))
    return float(np.arctan(np.tan(difference) * np.sin(np.radians(latitude_deg))))


def _central_meridian_deg(zone: int) -> float:
    return zone * 6.0 - 183.0
