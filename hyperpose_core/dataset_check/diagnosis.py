"""Which mistake, if any, explains matches between images better than the labels do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hyperpose_core.dataset_check.hypotheses import Mistake, focal_scaled, possible_mistakes
from hyperpose_core.dataset_check.image_evidence import (
    SceneEvidence,
    SequenceEvidence,
    across_errors,
    pair_errors,
)
from hyperpose_core.geometry.poses import Array

FEWEST_PAIRS = 6
"""So many pairs of frames must match before anything is said."""

# Errors as shares of the image's longer side: 0.001 is 0.64 px of 640.
_NOISE = 0.0005
_TOO_SMALL = 0.0012
_EXPLAINED = 0.01
_CONTRADICTION = 0.015
_WORLDS_APART = 0.01

_LARGEST_RATIO = 0.8
_SURE = 3.5
_SMALLEST_SPREAD = 0.05
_AGREEING = 0.8
_FEWEST_ACROSS = 3
_UNEXPLAINED = "poses contradict the images, and none of the usual mistakes explains it"
_FOCALS = (0.5, 0.6, 0.72, 0.86, 1.04, 1.25, 1.5, 1.8, 2.2)


@dataclass(frozen=True)
class FoundMistake:
    """A mistake that explains the images better than the labels do.

    Attributes:
        kind: as `Mistake.kind`, or "another world", or "unexplained".
        scene: where.
        sequences: in which; empty for all that were looked at.
        text: what is wrong, for people.
        labelled_px: the median epipolar error under the labels.
        mended_px: the same without the mistake; NaN where that is not known.
        pairs: how many pairs of frames say so.
    """

    kind: str
    scene: str
    sequences: tuple[str, ...]
    text: str
    labelled_px: float
    mended_px: float
    pairs: int

    def __str__(self) -> str:
        """Say it in a line."""
        where = self.scene + (f", sequence {', '.join(self.sequences)}" if any(self.sequences) else "")
        line = f"{where}: {self.text}: epipolar error {self.labelled_px:.1f} px as labelled"
        if np.isfinite(self.mended_px):
            line += f", {self.mended_px:.1f} px otherwise"
        return f"{line} ({self.pairs} pairs of frames)"


@dataclass(frozen=True)
class Diagnosis:
    """What the images of one scene say of its labels.

    Attributes:
        pairs: how many pairs of frames of a sequence matched.
        error_px: their median epipolar error under the labels; NaN without pairs.
        focal_px: the focal length that fits best where the dataset has no camera model, else None.
        mistakes: what is wrong.
    """

    pairs: int
    error_px: float
    focal_px: float | None
    mistakes: tuple[FoundMistake, ...]


def diagnose_scene(evidence: SceneEvidence) -> Diagnosis:
    """Look for the mistake that explains one scene's images better than its labels do."""
    sequences = [sequence for sequence in evidence.sequences if sequence.pairs]
    pairs = sum(len(sequence.pairs) for sequence in sequences)
    if not pairs:
        return Diagnosis(0, float("nan"), None, ())
    focals = (1.0,) if evidence.knows_camera else _FOCALS
    weighing = _Weighing(sequences, focals, evidence.knows_camera)
    labelled = np.concatenate(weighing.labelled)
    focal_px = None if evidence.knows_camera else weighing.focal * sequences[0].side
    mistakes = _name_mistakes(evidence.scene, weighing) if pairs >= FEWEST_PAIRS else []
    if not mistakes:
        mistakes = _worlds_apart(evidence, weighing.focal)
    return Diagnosis(pairs, float(np.median(labelled)), focal_px, tuple(mistakes))


@dataclass(frozen=True)
class _Explanation:
    """A mistake, by what it changes errors, what they are without it, and what share of sequences agrees."""

    mistake: Mistake
    ratio: float
    mended_px: float
    agreement: float


class _Weighing:
    """The errors of every pair under the labels, and without each mistake that they may have.

    Args:
        sequences: with pairs.
        focals: factors of the focal length that are tried.
        knows_camera: whether the camera may be mistaken.

    Attributes:
        sequences: as they were given.
        knows_camera: as it was given.
        labelled: errors under the labels, a list [S] of arrays [P].
        focal: the factor that fits the labels best.
    """

    def __init__(
        self, sequences: Sequence[SequenceEvidence], focals: Sequence[float], knows_camera: bool
    ) -> None:
        self.sequences = sequences
        self.knows_camera = knows_camera
        self._focals = focals
        self.labelled, self.focal = self._best([None] * len(sequences))
        possible: dict[str, list[Mistake | None]] = {}
        for place, item in enumerate(sequences):
            for mistake in possible_mistakes(item.labels, knows_camera):
                possible.setdefault(mistake.name, [None] * len(sequences))[place] = mistake
        self._mended = [(mistakes, self._best(mistakes)[0]) for mistakes in possible.values()]

    def _best(self, mistakes: Sequence[Mistake | None]) -> tuple[list[Array], float]:
        """Return the errors without each sequence's mistake, with the focal length that suits them best."""
        mended = [
            mistake.undo(item.labels) if mistake else item.labels
            for item, mistake in zip(self.sequences, mistakes, strict=True)
        ]
        tried = []
        for factor in self._focals:
            errors = [
                pair_errors(focal_scaled(labels, factor), item.pairs)
                for labels, item in zip(mended, self.sequences, strict=True)
            ]
            logs = [
                np.log(part / item.side + _NOISE) for part, item in zip(errors, self.sequences, strict=True)
            ]
            tried.append((float(np.mean(np.concatenate(logs))), factor, errors))
        _, factor, errors = min(tried, key=lambda item: item[0])
        return errors, factor

    def best_mistake(self, places: Sequence[int]) -> _Explanation | None:
        """Return what explains some sequences surely better than their labels do."""
        labelled = np.concatenate([self.labelled[place] for place in places])
        side = self.sequences[places[0]].side
        if len(labelled) < FEWEST_PAIRS or np.median(labelled) < _TOO_SMALL * side:
            return None
        sure = []
        for mistakes, errors in self._mended:
            mistake = next((mistakes[place] for place in places if mistakes[place]), None)
            mended = np.concatenate([errors[place] for place in places])
            ratio, certainty = _weigh(labelled, mended, side)
            explains = ratio <= _LARGEST_RATIO and np.median(mended) <= _EXPLAINED * side
            if mistake is not None and explains and certainty >= _SURE:
                better = [_weigh(self.labelled[place], errors[place], side)[0] < 1.0 for place in places]
                sure.append(_Explanation(mistake, ratio, float(np.median(mended)), float(np.mean(better))))
        return min(sure, key=lambda item: item.ratio) if sure else None


def _weigh(labelled: Array, mended: Array, side: int) -> tuple[float, float]:
    """Return the mean ratio of two errors of the same pairs, and how many standard errors it is below 1."""
    logs = np.log((mended + _NOISE * side) / (labelled + _NOISE * side))
    spread = max(float(logs.std(ddof=1)) if len(logs) > 1 else np.inf, _SMALLEST_SPREAD)
    return float(np.exp(logs.mean())), float(-logs.mean() / spread * np.sqrt(len(logs)))


def _name_mistakes(scene: str, weighing: _Weighing) -> list[FoundMistake]:
    places = range(len(weighing.sequences))
    overall = weighing.best_mistake(places)
    if overall is not None and overall.agreement >= _AGREEING:
        return [_found(scene, weighing, places, overall, ())]
    by_name: dict[str, tuple[list[int], list[_Explanation | None]]] = {}
    for place in places:
        explanation = weighing.best_mistake([place])
        contradicts = np.median(weighing.labelled[place]) > _CONTRADICTION * weighing.sequences[place].side
        if explanation is None and not (contradicts and weighing.knows_camera):
            continue
        if explanation is None and len(weighing.labelled[place]) < FEWEST_PAIRS:
            continue
        name = explanation.mistake.name if explanation else _UNEXPLAINED
        members, explanations = by_name.setdefault(name, ([], []))
        members.append(place)
        explanations.append(explanation)
    return [
        _found(
            scene, weighing, members, explanations[0], [weighing.sequences[place].name for place in members]
        )
        for members, explanations in by_name.values()
    ]


def _found(
    scene: str,
    weighing: _Weighing,
    places: Sequence[int],
    explanation: _Explanation | None,
    sequences: Sequence[str],
) -> FoundMistake:
    labelled = np.concatenate([weighing.labelled[place] for place in places])
    return FoundMistake(
        kind=explanation.mistake.kind if explanation else "unexplained",
        scene=scene,
        sequences=tuple(sequences),
        text=explanation.mistake.name if explanation else _UNEXPLAINED,
        labelled_px=float(np.median(labelled)),
        mended_px=explanation.mended_px if explanation else float("nan"),
        pairs=len(labelled),
    )


def _worlds_apart(evidence: SceneEvidence, focal: float) -> list[FoundMistake]:
    """Name the sequences that do not lie in the world of the others, though they show the same places."""
    sequences = [replace(item, labels=focal_scaled(item.labels, focal)) for item in evidence.sequences]
    errors = across_errors(sequences, evidence.across)
    good = np.zeros((len(sequences), len(sequences)), int)
    bad = np.zeros_like(good)
    for item, error in zip(evidence.across, errors, strict=True):
        a, b = item.sequences
        counts = bad if error > _WORLDS_APART * sequences[a].side else good
        counts[a, b] += 1
        counts[b, a] += 1
    main = _largest_group(good >= np.maximum(bad, 1), [len(item.labels.centres) for item in sequences])
    found = []
    for place, sequence in enumerate(sequences):
        against, towards = bad[place, main].sum(), good[place, main].sum()
        if place in main or against < _FEWEST_ACROSS or towards * 2 > against:
            continue
        own = [error for pair, error in zip(evidence.across, errors, strict=True) if place in pair.sequences]
        found.append(
            FoundMistake(
                kind="another world",
                scene=evidence.scene,
                sequences=(sequence.name,),
                text="poses fit among themselves, but lie in another world than those of "
                + ", ".join(sequences[other].name for other in main[:3]),
                labelled_px=float(np.median(own)),
                mended_px=float("nan"),
                pairs=len(own),
            )
        )
    return found


def _largest_group(linked: npt.NDArray[np.bool_], weights: Sequence[int]) -> list[int]:
    """Return the members of the heaviest connected group of a graph given by its links [S, S]."""
    left = set(range(len(weights)))
    best: list[int] = []
    while left:
        group: set[int] = set()
        edge = {min(left)}
        while edge:
            group |= edge
            edge = {other for place in edge for other in left - group if linked[place, other]}
        left -= group
        if sum(weights[place] for place in group) > sum(weights[place] for place in best):
            best = sorted(group)
    return best
