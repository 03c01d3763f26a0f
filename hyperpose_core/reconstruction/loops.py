"""What matching found, kept for the report when the database is gone; which loops it closed."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from hyperpose_core.files import read_bytes, replace_text
from hyperpose_core.limits import LARGEST_TABLE_BYTES
from hyperpose_core.reconstruction.database import Pair, opened, verified_matches
from hyperpose_core.reconstruction.frames import FrameSet
from hyperpose_core.untrusted import parse_json, reading

_SURE_MATCHES = 30
_SAME_LOOP = 20  # frames
_AROUND_A_CUT = 8  # frames


@dataclass(frozen=True)
class MatchSummary:
    """What matching found.

    Attributes:
        pairs: how many pairs of images were matched.
        verified: how many of them agree with a two-view geometry.
        far: of those not neighbours in time, that surely agree: names of both.
        cuts: the frames of videos that no agreeing pair joins to those before.
    """

    pairs: int
    verified: int
    far: tuple[Pair, ...]
    cuts: tuple[str, ...]


def summarise_matches(
    database: Path, frames: FrameSet, pairs: Collection[Pair], far: Collection[Pair]
) -> MatchSummary:
    """Count what a database's matches say."""
    with opened(database) as content:
        counts = verified_matches(content)
    sure = sorted(pair for pair in far if counts.get(pair, 0) >= _SURE_MATCHES)
    return MatchSummary(len(pairs), len(counts), tuple(sure), tuple(_cuts(frames, counts)))


def save_matches(path: Path, summary: MatchSummary) -> None:
    """Write a summary as JSON."""
    replace_text(path, json.dumps(asdict(summary)), "summary of the matches")


def load_matches(path: Path) -> MatchSummary:
    """Read what `save_matches` wrote."""
    with reading(path, "summary of the matches"):
        content = parse_json(read_bytes(path, largest=LARGEST_TABLE_BYTES), path)
        far = tuple((first, second) for first, second in content["far"])
        return MatchSummary(content["pairs"], content["verified"], far, tuple(content["cuts"]))


def closed_loops(frames: FrameSet, summary: MatchSummary, registered: Collection[str]) -> list[Pair]:
    """Return a pair of frames a loop: where a video comes back to what it, or another one, showed before."""
    places = {frame.name: index for index, frame in enumerate(frames.frames)}
    sources = {frame.name: frame.source for frame in frames.frames}
    loops: list[Pair] = []
    for pair in summary.far:
        if not all(name in registered and sources[name] in frames.consecutive for name in pair):
            continue
        first, second = sorted(places[name] for name in pair)
        known = [sorted(places[name] for name in loop) for loop in loops]
        if not any(abs(first - a) <= _SAME_LOOP and abs(second - b) <= _SAME_LOOP for a, b in known):
            loops.append(pair)
    return loops


def _cuts(frames: FrameSet, verified: Collection[Pair]) -> list[str]:
    """Return the frames that looked like a cut and that nothing joins to the frames before."""
    cuts = []
    for place, frame in enumerate(frames.frames):
        if not frame.starts_shot:
            continue
        near = range(max(0, place - _AROUND_A_CUT), min(len(frames.frames), place + _AROUND_A_CUT))
        same = [other for other in near if frames.frames[other].source == frame.source]
        before = {frames.frames[other].name for other in same if other < place}
        after = {frames.frames[other].name for other in same if other >= place}
        joined = any((a in before and b in after) or (a in after and b in before) for a, b in verified)
        if before and not joined:
            cuts.append(frame.name)
    return cuts
