"""The text logs of an Oxford RobotCar run: image stamps, INS, visual odometry and GPS.

Real downloads have cut-off last lines, rows of garbage, rows out of order and rows twice, with any line
ending and with or without a byte order mark. What can be read is read and sorted; what cannot is counted.
Stamps are microseconds on disk and integer nanoseconds here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_text
from hyperpose_core.geometry.poses import Array

Stamps = npt.NDArray[np.int64]

GOOD_STATUS = "INS_SOLUTION_GOOD"

_LONGEST_RECORDING_US = 24 * 3600 * 1_000_000

_INS_NUMBERS = (
    "timestamp latitude longitude northing easting down "
    "velocity_north velocity_east velocity_down roll pitch yaw"
).split()
_VO_NUMBERS = "source_timestamp destination_timestamp x y z roll pitch yaw".split()
_GPS_NUMBERS = "timestamp latitude longitude altitude latitude_sigma longitude_sigma altitude_sigma".split()


@dataclass(frozen=True, eq=False)
class InsLog:
    """Rows of `gps/ins.csv` in the order of time, good and bad solutions alike.

    Attributes:
        stamps_ns: int64 [N], strictly increasing.
        north_east_down: UTM northing, UTM easting and depth [N, 3], metres.
        latitude_longitude_deg: [N, 2], degrees.
        roll_pitch_yaw: [N, 3], radians; the yaw is from true north.
        velocity_north_east_down: [N, 3], m/s, along true north, east and down.
        good: bool [N], the rows marked INS_SOLUTION_GOOD.
        utm_zone: the rows' UTM zone, such as "30U".
        unreadable_rows: how many rows were left out.
    """

    stamps_ns: Stamps
    north_east_down: Array
    latitude_longitude_deg: Array
    roll_pitch_yaw: Array
    velocity_north_east_down: Array
    good: npt.NDArray[np.bool_]
    utm_zone: str
    unreadable_rows: int


@dataclass(frozen=True, eq=False)
class VoLog:
    """Rows of `vo/vo.csv`: the vehicle at the source stamp in its own frame at the destination stamp.

    Attributes:
        source_stamps_ns: the later stamps, int64 [N], strictly increasing.
        destination_stamps_ns: the earlier stamps, int64 [N].
        translations: [N, 3], metres.
        roll_pitch_yaw: [N, 3], radians.
        unreadable_rows: how many rows were left out.
    """

    source_stamps_ns: Stamps
    destination_stamps_ns: Stamps
    translations: Array
    roll_pitch_yaw: Array
    unreadable_rows: int


@dataclass(frozen=True, eq=False)
class GpsLog:
    """Rows of `gps/gps.csv`.

    Attributes:
        stamps_ns: int64 [N], strictly increasing.
        latitude_deg: [N], degrees.
        longitude_deg: [N], degrees.
        altitude: [N], metres.
        deviations: standard deviations of latitude, longitude and altitude [N, 3], metres.
        unreadable_rows: how many rows were left out.
    """

    stamps_ns: Stamps
    latitude_deg: Array
    longitude_deg: Array
    altitude: Array
    deviations: Array
    unreadable_rows: int


@dataclass(frozen=True, eq=False)
class _Table:
    numbers: Array
    texts: list[tuple[str, ...]]
    unreadable_rows: int

    def stamps_ns(self, column: int) -> Stamps:
        # Microseconds since 1970 stay below 2**53: float64 holds them exactly.
        return np.asarray(np.rint(self.numbers[:, column]), dtype=np.int64) * 1000


def read_stamps(path: Path) -> tuple[Stamps, int]:
    """Read a `*.timestamps` file: one image stamp in microseconds (and a chunk number) a line.

    Returns:
        the stamps int64 [N] in nanoseconds, sorted, each once; and how many lines were no stamp or a repeated
        one.

    Raises:
        HyperPoseError: the file is missing, or none of its lines is a stamp.
    """
    lines = [line for line in read_text(path, "log", errors="replace").splitlines() if line.strip()]
    words = [line.split()[0] for line in lines]
    found = sorted({int(word) for word in words if word.isascii() and word.isdigit() and len(word) < 17})
    if not found:
        raise HyperPoseError(f"{path}: no line starts with a stamp in microseconds, such as 1403537851846790")
    stamps = np.array(found, dtype=np.int64)
    stamps = stamps[_of_one_recording(stamps)] * 1000
    return stamps, len(lines) - len(stamps)


def read_ins(path: Path) -> InsLog:
    """Read `gps/ins.csv`.

    Raises:
        HyperPoseError: the file or a column is missing, no row can be read, or none is marked good.
    """
    table = _read_table(path, _INS_NUMBERS, ["ins_status", "utm_zone"])
    if not table.texts:
        raise HyperPoseError(f"{path}: no row that can be read")
    good = np.array([status == GOOD_STATUS for status, _ in table.texts])
    if not good.any():
        raise HyperPoseError(f"{path}: no row is marked {GOOD_STATUS}; without one there is no pose")
    utm_zone = table.texts[int(np.argmax(good))][1]
    kept = np.array([zone == utm_zone for _, zone in table.texts])
    numbers = table.numbers[kept]
    return InsLog(
        stamps_ns=table.stamps_ns(0)[kept],
        latitude_longitude_deg=numbers[:, 1:3],
        north_east_down=numbers[:, 3:6],
        velocity_north_east_down=numbers[:, 6:9],
        roll_pitch_yaw=numbers[:, 9:12],
        good=good[kept],
        utm_zone=utm_zone,
        unreadable_rows=table.unreadable_rows + int(np.sum(~kept)),
    )


def read_vo(path: Path) -> VoLog:
    """Read `vo/vo.csv`; rows whose source stamp is not the later one count as unreadable.

    Raises:
        HyperPoseError: the file or a column is missing, or no row of a file with rows can be read.
    """
    table = _read_table(path, _VO_NUMBERS, [])
    source, destination = table.stamps_ns(0), table.stamps_ns(1)
    kept = source > destination
    return VoLog(
        source_stamps_ns=source[kept],
        destination_stamps_ns=destination[kept],
        translations=table.numbers[kept, 2:5],
        roll_pitch_yaw=table.numbers[kept, 5:8],
        unreadable_rows=table.unreadable_rows + int(np.sum(~kept)),
    )


def read_gps(path: Path) -> GpsLog:
    """Read `gps/gps.csv`.

    Raises:
        HyperPoseError: the file or a column is missing, or no row of a file with rows can be read.
    """
    table = _read_table(path, _GPS_NUMBERS, [])
    return GpsLog(
        stamps_ns=table.stamps_ns(0),
        latitude_deg=table.numbers[:, 1],
        longitude_deg=table.numbers[:, 2],
        altitude=table.numbers[:, 3],
        deviations=table.numbers[:, 4:7],
        unreadable_rows=table.unreadable_rows,
    )


def _read_table(path: Path, number_names: list[str], text_names: list[str]) -> _Table:
    """Read a CSV log, sorted by its first number column; a repeated stamp counts as unreadable."""
    text = read_text(path, "log", errors="replace")
    lines = text.splitlines()
    header = [name.strip() for name in lines[0].split(",")] if lines else []
    for name in number_names + text_names:
        if name not in header:
            raise HyperPoseError(
                f"{path}, row 1: column {name!r} is missing; the header is {','.join(header)!r}"
            )
    number_columns = [header.index(name) for name in number_names]
    text_columns = [header.index(name) for name in text_names]
    # A last line without its line end may have lost digits of its last number and still look whole.
    cut_off = not text.endswith(("\n", "\r")) and len(lines) > 1
    rows: dict[float, tuple[list[float], tuple[str, ...]]] = {}
    first_bad: int | None = len(lines) if cut_off else None
    for number, line in reversed(list(enumerate(lines[1 : len(lines) - cut_off], start=2))):
        fields = line.split(",")
        values = _finite_numbers(fields, number_columns) if len(fields) == len(header) else None
        if values is None:
            first_bad = number
        else:
            rows[values[0]] = (values, tuple(fields[column].strip() for column in text_columns))
    if first_bad is not None and not rows:
        raise HyperPoseError(
            f"{path}, row {first_bad}: not {len(header)} fields with finite numbers; no other row is better"
        )
    ordered = [rows[stamp] for stamp in sorted(rows)]
    numbers = np.array([values for values, _ in ordered], dtype=np.float64).reshape(-1, len(number_names))
    kept = _of_one_recording(numbers[:, 0])
    texts = [texts for (_, texts), keep in zip(ordered, kept, strict=True) if keep]
    blank = sum(not line.strip() for line in lines[1:])
    return _Table(numbers[kept], texts, len(lines) - 1 - blank - len(texts))


def _of_one_recording(stamps_us: Array | Stamps) -> npt.NDArray[np.bool_]:
    """Tell which stamps belong together; one that has lost a digit is years away from the others."""
    if not len(stamps_us):
        return np.zeros(0, dtype=np.bool_)
    return np.asarray(np.abs(stamps_us - np.sort(stamps_us)[len(stamps_us) // 2]) < _LONGEST_RECORDING_US)


def _finite_numbers(fields: list[str], columns: list[int]) -> list[float] | None:
    try:
        values = [float(fields[column]) for column in columns]
    except ValueError:
        return None
    return values if np.isfinite(values).all() and values[0] > 0 else None
