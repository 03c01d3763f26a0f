"""Tries a place's network and map on frames held out, beside the nearest training frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hyperpose_core import __version__
from hyperpose_core.evaluation import Scores, score, write_report
from hyperpose_core.evaluation.metrics import Summary
from hyperpose_core.evaluation.offline import compare_estimates, estimate_images, sample_pictures
from hyperpose_core.evaluation.refined_scores import RefinedScores, score_refined
from hyperpose_core.experiments.retrieval import compare_matches, nearest_by_appearance
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.place.parts import Parts
from hyperpose_core.refinement.checkpoint_map import map_beside
from hyperpose_core.refinement.map_refiner import MapRefiner
from hyperpose_core.refinement.offline import compare_refined, refine_images


@dataclass(frozen=True, eq=False)
class Trial:
    """What came of frames that neither network nor map had seen.

    Attributes:
        network: the network's errors.
        refined: the map's; None without a map.
        retrieval: those of the training frame that looks most alike, which a network has to beat.
        report: the page that shows it all.
    """

    network: Scores
    refined: RefinedScores | None
    retrieval: Scores
    report: Path

    def lines(self) -> list[str]:
        """Return the figures for people, a line each."""
        network, nearest = self.network.overall, self.retrieval.overall
        lines = [
            f"held out: {network.frames} frames (medians)",
            f"  network                {_medians(network)}",
            f"  nearest training frame {_medians(nearest)}",
        ]
        if self.refined is not None:
            scores = self.refined.scores
            errors = "" if scores is None else f"{_medians(scores.overall)}, "
            share = f"{100 * self.refined.verified_share:.0f}% verified"
            lines.insert(2, f"  map                    {errors}{share}")
        return lines + self._warnings()

    def _warnings(self) -> list[str]:
        network, nearest = self.network.overall, self.retrieval.overall
        worse = [
            name
            for name, ours, theirs in (
                ("position", network.position_m, nearest.position_m),
                ("orientation", network.orientation_deg, nearest.orientation_deg),
            )
            if ours.median > theirs.median
        ]
        if not worse:
            return []
        return [
            f"note: the network's {' and '.join(worse)} is no better than the nearest training frame's: "
            "train longer (--minutes), or film more of the place"
        ]


def try_out(
    parts: Parts, checkpoint: Path, folder: Path, device: str, tell: Callable[[str], object]
) -> Trial:
    """Estimate the test part's poses with the network, and with the map beside it where there is one.

    Args:
        parts: the images.
        checkpoint: of a network trained on the training part, whose map is of that part, too.
        folder: where the report goes.
        device: where networks run.
        tell: hears what is worth knowing of the map.

    Raises:
        HyperPoseError: an image is unreadable, or the report cannot be written.
    """
    estimator = PoseEstimator.load(checkpoint, device)
    test = parts.test
    estimates, milliseconds = estimate_images(estimator, test.images)
    comparison = compare_estimates(estimator, test, estimates, milliseconds)
    refined = None
    path = map_beside(checkpoint)
    if path.is_file():
        refiner = MapRefiner.load(path, estimator.checkpoint, test.camera, tell)
        refined = compare_refined(refine_images(refiner, test.images, estimates), test, refiner)
    matches = nearest_by_appearance(parts.training, test, device=device)
    retrieval = score(compare_matches(parts.training, test, matches))
    report = write_report(
        folder,
        comparison,
        title=f"{test.name}: frames held out",
        metadata={
            "training": estimator.checkpoint.training,
            "nearest_training_frame": {
                "position_error_median_m": retrieval.overall.position_m.median,
                "orientation_error_median_deg": retrieval.overall.orientation_deg.median,
            },
            "versions": {"hyperpose": __version__},
        },
        pictures=sample_pictures(test.images, comparison),
        refined=refined,
    )
    return Trial(
        network=score(comparison),
        refined=None if refined is None else score_refined(refined),
        retrieval=retrieval,
        report=report,
    )


def _medians(summary: Summary) -> str:
    return f"{summary.position_m.median:.3f} m, {summary.orientation_deg.median:.2f} deg"
