"""Score as text: numbers as people read them, and the table that a terminal shows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TextIO

import numpy as np

from hyperpose_core.evaluation.condition_drop import ConditionDrop
from hyperpose_core.evaluation.consistency import ConsistencyScores
from hyperpose_core.evaluation.metrics import RECALL_THRESHOLDS, Scores, Summary
from hyperpose_core.evaluation.published import PublishedComparison
from hyperpose_core.evaluation.refined_scores import RefinedScores
from hyperpose_core.evaluation.statistics import Interval

COVARIANCE_NOT_MEASURED = (
    "not measured, since no frames, or too few, were held out of training: nothing is known of how far off a "
    "pose may be"
)


def metres(value: float) -> str:
    """A length in metres, to the millimetre (finer below a centimetre)."""
    return number(value, 3 if abs(value) >= 0.01 else 5)


def degrees(value: float) -> str:
    """An angle in degrees, to a hundredth (finer below a tenth)."""
    return number(value, 2 if abs(value) >= 0.1 else 4)


def number(value: float, digits: int) -> str:
    """Return a number with so many digits after the point, "inf" for an infinite one."""
    return "inf" if np.isinf(value) else f"{value:.{digits}f}"


def percent(fraction: float) -> str:
    """A share in percent, one digit after the point."""
    return f"{100.0 * fraction:.1f} %"


def recall_name(position_m: float, orientation_deg: float) -> str:
    """The name of a recall, such as "0.25 m, 2 deg"."""
    return f"{position_m:g} m, {orientation_deg:g} deg"


def interval_text(interval: Interval, form: Callable[[float], str], sign: bool = False) -> str:
    """Return a figure and its interval, such as "0.31 [0.28, 0.35]".

    Args:
        interval: the figure.
        form: turns a number into text.
        sign: say the sign of positive numbers, too.
    """
    texts = [
        f"{'+' if sign and value > 0 else ''}{form(value)}"
        for value in (interval.estimate, interval.low, interval.high)
    ]
    return f"{texts[0]} [{texts[1]}, {texts[2]}]"


def print_table(
    scores: Scores,
    published: Sequence[PublishedComparison] = (),
    stream: TextIO | None = None,
    refined: RefinedScores | None = None,
    retrieval: Summary | None = None,
) -> None:
    """Print the scores, and published figures beside them, to a stream (the standard output by default)."""
    table = format_table(scores, published, refined, retrieval)
    print(table, file=sys.stdout if stream is None else stream)


def format_table(
    scores: Scores,
    published: Sequence[PublishedComparison] = (),
    refined: RefinedScores | None = None,
    retrieval: Summary | None = None,
) -> str:
    """The scores as a text table: all frames, then scenes and conditions where there are several.

    Args:
        scores: the network's.
        published: published figures to set beside them.
        refined: what a landmark map made of the same frames, where one was asked.
        retrieval: the poses of the training images that look most alike, where they are known.
    """
    blocks = [_errors_block(scores.overall), _rows_block(_groups(scores))]
    if retrieval is not None:
        blocks.append(_retrieval_block(scores.overall, retrieval))
    if refined is not None:
        blocks.append(_refined_block(scores.overall, refined))
    if scores.drops:
        blocks.append(_drops_block(scores.drops))
    if scores.covariance_not_measured:
        blocks.append(f"covariance: {COVARIANCE_NOT_MEASURED}")
    if scores.consistency is not None:
        blocks.append(_consistency_block(scores.consistency))
    if refined is not None and refined.scores is not None and refined.scores.consistency is not None:
        blocks.append("verified by the map:\n" + _consistency_block(refined.scores.consistency))
    blocks += [_published_block(item) for item in published]
    return "\n\n".join(blocks)


def _errors_block(summary: Summary) -> str:
    failed = f", {summary.failed} of them without an estimate (infinite errors)" if summary.failed else ""
    rows = [["", "median", "mean", "p95", "max"]]
    for name, statistics, form in (
        ("position error (m)", summary.position_m, metres),
        ("orientation error (deg)", summary.orientation_deg, degrees),
    ):
        values = (statistics.median, statistics.mean, statistics.p95, statistics.maximum)
        rows.append([name, *(form(value) for value in values)])
    return f"{summary.frames} frames{failed}, no alignment\n" + _align(rows)


def _groups(scores: Scores) -> list[Summary]:
    groups = [scores.overall]
    for summaries in (scores.scenes, scores.conditions):
        if len(summaries) > 1:
            groups += summaries
    return groups


def _rows_block(summaries: Sequence[Summary]) -> str:
    recalls = [recall_name(*pair) for pair in RECALL_THRESHOLDS]
    rows = [["frames within", *recalls, "frames", "median m", "median deg", "ms/image"]]
    for summary in summaries:
        rows.append(
            [
                summary.label or "(unnamed)",
                *(percent(recall.fraction) for recall in summary.recalls),
                str(summary.frames),
                metres(summary.position_m.median),
                degrees(summary.orientation_deg.median),
                "-" if summary.timing is None else f"{summary.timing.median_ms:.1f}",
            ]
        )
    return _align(rows)


def _retrieval_block(network: Summary, retrieval: Summary) -> str:
    rows = [["poses of", "median m", "p95 m", "median deg", "p95 deg"]]
    for name, summary in (("network", network), ("training image that looks most alike", retrieval)):
        rows.append([name, *_figures(summary)])
    return _align(rows)


def _refined_block(network: Summary, refined: RefinedScores) -> str:
    rows = [["poses of", "frames", "share", "median m", "p95 m", "median deg", "p95 deg", "ms/image"]]
    of_map = None if refined.scores is None else refined.scores.overall
    shares = (1.0 - network.failed / network.frames, refined.verified_share)
    for name, summary, share, timing in (
        ("network", network, shares[0], network.timing),
        ("map, where verified", of_map, shares[1], refined.timing),
    ):
        figures = ["-"] * 4 if summary is None else _figures(summary)
        frames = "0" if summary is None else str(summary.frames)
        milliseconds = "-" if timing is None else f"{timing.median_ms:.1f}"
        rows.append([name, frames, percent(share), *figures, milliseconds])
    return _align(rows)


def _figures(summary: Summary) -> list[str]:
    position, orientation = summary.position_m, summary.orientation_deg
    return [
        metres(position.median),
        metres(position.p95),
        degrees(orientation.median),
        degrees(orientation.p95),
    ]


def _drops_block(drops: Sequence[ConditionDrop]) -> str:
    confidence = f"[{100 * drops[0].position_m.difference.confidence:g} %]"
    rows = [
        ["against original", "frames", f"more m {confidence}", "ratio", f"more deg {confidence}", "ratio"]
    ]
    for drop in drops:
        rows.append(
            [
                drop.condition,
                str(drop.frames),
                interval_text(drop.position_m.difference, metres, sign=True),
                number(drop.position_ratio, 2),
                interval_text(drop.orientation_deg.difference, degrees, sign=True),
                number(drop.orientation_ratio, 2),
            ]
        )
    return _align(rows)


def _consistency_block(consistency: ConsistencyScores) -> str:
    rows = [
        [
            "covariance",
            "% in 68% region",
            "% in 95% region",
            "NEES mean (3)",
            "median (2.37)",
            "neg. log-likelihood",
            "rank corr.",
        ]
    ]
    parts = [("position", consistency.position), ("rotation", consistency.rotation)]
    constant = consistency.constant
    if constant is not None:
        parts += [("  same for all", constant.position), ("  same for all", constant.rotation)]
        parts = [parts[0], parts[2], parts[1], parts[3]]
    for name, part in parts:
        regions = (part.coverage_68_interval, part.coverage_95_interval)
        correlation = part.rank_correlation
        rows.append(
            [
                name,
                *(interval_text(region, lambda share: number(100.0 * share, 1)) for region in regions),
                number(part.nees_mean, 2),
                number(part.nees_median, 2),
                number(part.negative_log_likelihood, 3),
                "-" if correlation is None else number(correlation, 2),
            ]
        )
    block = _align(rows)
    if consistency.not_measured:
        block += (
            f"\n{consistency.not_measured} of {consistency.frames} frames have a covariance that was not "
            "measured, and lie in every region"
        )
    if constant is None:
        return block
    gains = [
        f"{name} {interval_text(gain, lambda value: number(value, 3), sign=True)}"
        for name, gain in (("position", constant.position_gain), ("rotation", constant.rotation_gain))
    ]
    return f"{block}\nlog-likelihood a frame above that of one covariance for all: {', '.join(gains)}"


def _published_block(comparison: PublishedComparison) -> str:
    rows = [["published", "family", "table", "statistic", "position m", "orientation deg"]]
    for result in comparison.results:
        rows.append(
            [
                result.method,
                result.family,
                str(result.table),
                result.statistic,
                number(result.position_m, 2),
                number(result.orientation_deg, 2),
            ]
        )
    for statistic in dict.fromkeys(result.statistic for result in comparison.results):
        position = getattr(comparison.summary.position_m, statistic)
        orientation = getattr(comparison.summary.orientation_deg, statistic)
        rows.append(["THIS RESULT", "", "", statistic, metres(position), degrees(orientation)])
    note = f"\n{comparison.note}" if comparison.note else ""
    return f"{comparison.scene}\n{_align(rows)}{note}"


def _align(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(len(line) for line in lines))
    return "\n".join(lines)
