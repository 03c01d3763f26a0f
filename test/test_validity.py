"""Pose validity: the validator's reasons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path as FilePath

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")

from localizer_helpers import SECOND  # noqa: E402

from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint  # noqa: E402
from hyperpose_core.geometry.poses import Pose, rotation_vector_to_quaternion  # noqa: E402
from hyperpose_core.uncertainty.covariance import Uncertainty  # noqa: E402
from hyperpose_core.uncertainty.region import TrainedRegion  # noqa: E402
from hyperpose_ros.common.fix import Fix, PoseWithCovariance, View  # noqa: E402
from hyperpose_ros.fusion.trust_history import REMEMBERED, TrustHistory  # noqa: E402
from hyperpose_ros.fusion.validity import PoseValidator  # noqa: E402
from hyperpose_ros.parameters.localizer import LocalizerParameters  # noqa: E402

COVARIANCE = np.diag([0.1**2] * 3 + [0.02**2] * 3)
ROAD = TrainedRegion.from_positions(
    np.stack([np.arange(100.0), np.zeros(100), np.zeros(100)], axis=1), np.zeros(100, dtype=np.int64)
)


class WheelOdometry:
    """Odometry that stands where it was put, and is not known before a stamp."""

    def __init__(self) -> None:
        self.pose = Pose.identity()
        self.known_from_ns = 0
        self.problem = ""

    def pose_at(self, stamp_ns: int) -> Pose | None:
        return self.pose if stamp_ns >= self.known_from_ns else None

    def time_jumped(self) -> None:
        pass

    def destroy(self) -> None:
        pass


def view(x: float, y: float = 0.0, camera: int = 0, **changes: object) -> View:
    pose = Pose(np.array([x, y, 0.0]), rotation_vector_to_quaternion([0.0, 0.0, 0.1]))
    return replace(View(camera, "camera", PoseWithCovariance(pose, COVARIANCE), pose), **changes)


def fix_of(*views: View, stamp_ns: int = SECOND, **changes: object) -> Fix:
    return replace(Fix(stamp_ns, views, base=views[0].in_map, published=views[0].in_map), **changes)


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: FilePath) -> Checkpoint:
    return replace(load_checkpoint(tiny_checkpoint), region=ROAD)


def validator_of(
    checkpoint: Checkpoint, odometry: WheelOdometry | None = None, **parameters: object
) -> PoseValidator:
    return PoseValidator(checkpoint, lambda: LocalizerParameters(**parameters), odometry)


def test_on_the_trained_road_a_fix_is_trusted_and_given_on_as_it_is(checkpoint: Checkpoint) -> None:
    fix = fix_of(view(50.2, 0.3))
    validation = validator_of(checkpoint).validate(fix)
    assert (
        validation.trusted and validation.fix is fix and validation.causes == () and validation.reason == ""
    )
    assert validation.values["region_distance_m"] == "0.361"
    # Five spacings of 1 m and three deviations of 0.1 m.
    assert validation.values["region_margin_m"] == "5.300"
    assert validation.values["covariance"] == "measured"


@pytest.mark.parametrize(
    ("margin", "y", "trusted"),
    [(-1.0, 5.2, True), (-1.0, 5.4, False), (2.0, 1.9, True), (2.0, 2.1, False), (0.0, 1e6, True)],
)
def test_a_fix_beyond_the_margin_is_outside(
    checkpoint: Checkpoint, margin: float, y: float, trusted: bool
) -> None:
    validation = validator_of(checkpoint, region_margin=margin).validate(fix_of(view(50.0, y)))
    assert validation.trusted is trusted
    if not trusted:
        assert validation.causes == ("outside_region",) and f"{y:.2f} m from the nearest" in validation.reason


def test_the_network_s_scene_decides_which_region_counts(checkpoint: Checkpoint) -> None:
    positions = np.array([[0.0, 0, 0], [1, 0, 0], [0, 0, 0], [1, 0, 0]]) + np.array([[0], [0], [80], [80]])
    region = TrainedRegion.from_positions(positions, np.array([0, 0, 1, 1]))
    validator = validator_of(replace(checkpoint, region=region, scenes=("attic", "barn")), region_margin=1.0)
    barn = view(80.0, 80.0, in_world=Pose(np.full(3, 80.0), [1, 0, 0, 0]), scene="barn", scene_index=1)
    assert validator.validate(fix_of(replace(barn, scene_probability=0.9))).trusted
    attic = replace(barn, scene="attic", scene_index=0, scene_probability=0.9)
    assert validator.validate(fix_of(attic)).causes == ("outside_region",)


@pytest.mark.parametrize(("probability", "trusted"), [(0.5, True), (0.49, False), (float("nan"), False)])
def test_an_unlikely_scene_is_not_trusted(checkpoint: Checkpoint, probability: float, trusted: bool) -> None:
    validation = validator_of(checkpoint).validate(
        fix_of(view(3.0, scene="barn", scene_probability=probability))
    )
    assert validation.trusted is trusted
    assert trusted or (validation.causes == ("scene_probability",) and "scene barn" in validation.reason)


@pytest.mark.parametrize(
    "covariance",
    [np.diag([np.nan] * 6), np.diag([np.inf] * 6), -COVARIANCE, np.zeros((6, 6)), np.ones((6, 6))],
)
@pytest.mark.parametrize("on_invalid", ["withhold", "inflate"])
def test_a_fix_that_is_not_finite_is_never_published(
    checkpoint: Checkpoint, on_invalid: str, covariance: np.ndarray
) -> None:
    validator = validator_of(checkpoint, on_invalid=on_invalid)
    nowhere = view(3.0, in_map=None, in_world=None)
    broken = view(3.0, in_map=PoseWithCovariance(Pose.identity(), covariance))
    for fix in (fix_of(nowhere), fix_of(broken)):
        validation = validator.validate(fix)
        assert validation.fix is None and validation.causes == ("not_finite",)


def test_an_inflated_fix_keeps_its_poses(checkpoint: Checkpoint) -> None:
    fix = fix_of(view(50.0, 60.0))
    validation = validator_of(checkpoint, on_invalid="inflate", inflation=25.0).validate(fix)
    assert (
        not validation.trusted and validation.fix is not None and validation.fix.views[0].in_map is not None
    )
    for estimate in (validation.fix.published, validation.fix.base, validation.fix.views[0].in_map):
        assert estimate is not None and fix.published is not None
        np.testing.assert_allclose(estimate.covariance, 25.0 * COVARIANCE)
        np.testing.assert_array_equal(estimate.pose.matrix(), fix.published.pose.matrix())
    np.testing.assert_array_equal(fix.published.covariance, COVARIANCE)


def test_of_several_cameras_the_majority_decides(checkpoint: Checkpoint) -> None:
    validator = validator_of(checkpoint)
    good, lost = view(50.0), view(50.0, 90.0, camera=1)
    assert validator.validate(fix_of(good, lost, replace(good, camera=2))).trusted
    assert validator.validate(fix_of(good, lost)).causes == ("outside_region",)
    blind = view(0.0, camera=1, in_map=None, in_world=None)
    assert validator.validate(fix_of(good, blind)).trusted
    assert validator.validate(fix_of(good, good, disagreement="a and b contradict")).causes == (
        "disagreement",
    )


def test_a_jump_against_odometry_is_seen_and_forgotten_on_a_reset(checkpoint: Checkpoint) -> None:
    odometry = WheelOdometry()
    validator = validator_of(checkpoint, odometry)
    assert validator.validate(fix_of(view(10.0))).values["jump"] == "nothing to compare with yet"
    odometry.pose = Pose(np.array([3.0, 0.0, 0.0]), [1, 0, 0, 0])
    forward = rotation_vector_to_quaternion([0.0, 0.0, 0.1])
    there = Pose(np.array([10.0, 0.0, 0.0]), forward) @ odometry.pose
    assert validator.validate(fix_of(view(*there.position[:2]))).values["jump"] == "none"
    validation = validator.validate(fix_of(view(30.0)))
    assert validation.causes == ("jump",) and float(validation.values["jump_mahalanobis"]) > 10
    assert "m from where odometry has it" in validation.reason and validation.fix is None
    validator.reset()
    assert validator.validate(fix_of(view(30.0))).trusted


def test_what_cannot_be_checked_is_said(checkpoint: Checkpoint) -> None:
    late = WheelOdometry()
    late.known_from_ns = 10 * SECOND
    for validator, fix, expected in (
        (validator_of(checkpoint), fix_of(view(1.0)), "odometry not known"),
        (validator_of(checkpoint, late), fix_of(view(1.0), base=None), "extrinsics not known"),
        (validator_of(checkpoint, late), fix_of(view(1.0)), "no odometry at the image's stamp"),
        (validator_of(checkpoint, late, jump_gate=0.0), fix_of(view(1.0)), "off"),
    ):
        validation = validator.validate(fix)
        assert validation.trusted and expected in validation.values["jump"]
    imported = replace(checkpoint, region=None, uncertainty=Uncertainty.unknown())
    values = validator_of(imported).validate(fix_of(view(1e5))).values
    assert values["covariance"].startswith("not measured: jumps, cameras that disagree")
    assert values["region"] == "not known to the checkpoint"


def test_another_network_brings_its_own_region(checkpoint: Checkpoint) -> None:
    odometry = WheelOdometry()
    validator = validator_of(checkpoint, odometry)
    assert validator.validate(fix_of(view(10.0))).trusted
    assert not validator.validate(fix_of(view(10.0, 900.0))).trusted
    far = TrainedRegion.from_positions(np.array([[10.0, 900.0, 0.0]]), np.zeros(1, dtype=np.int64))
    validator.adopt(replace(checkpoint, region=far))
    assert validator.validate(fix_of(view(10.0, 900.0))).trusted
    assert validator.history.summary().fixes == 1


def test_diagnostics_hear_of_it_once_most_fixes_are_not_trusted() -> None:
    history = TrustHistory()
    for _ in range(9):
        history.add(("jump",))
    assert history.summary().problem == "", "nine are too few to speak of"
    history.add(("jump", "outside_region"))
    assert "10 of the latest 10 poses" in history.summary().problem and "jump" in history.summary().problem
    for _ in range(10):
        history.add(())
    assert history.summary().problem == "" and history.summary().untrusted == 10
    for _ in range(REMEMBERED):
        history.add(())
    assert history.summary().untrusted == 0 and history.summary().fixes == REMEMBERED


# Over DDS: a localizer in a process of its own.


def verified_at(x: float, stamp_ns: int = SECOND) -> Fix:
    """A fix as a landmark map gives it: sure to a centimetre."""
    sure = view(x)
    assert sure.in_map is not None
    in_map = PoseWithCovariance(sure.in_map.pose, COVARIANCE / 100)
    return fix_of(replace(sure, in_map=in_map), stamp_ns=stamp_ns)


@pytest.mark.parametrize("leads", [True, False])
def test_what_a_map_verified_is_not_held_against_the_network_but_the_network_against_it(
    checkpoint: Checkpoint, leads: bool
) -> None:
    validator = validator_of(checkpoint, WheelOdometry())
    assert validator.validate(fix_of(view(50.0))).trusted
    assert validator.validate_verified(verified_at(52.0), leads).trusted
    assert validator.validate(fix_of(view(52.0))).trusted is leads
    assert validator.validate(fix_of(view(50.0))).trusted is not leads
    refused = validator.validate_verified(verified_at(53.0), leads)
    assert refused.causes == ("jump",) and refused.fix is None


def test_the_last_verified_pose_is_carried_on_by_odometry(checkpoint: Checkpoint) -> None:
    odometry = WheelOdometry()
    validator = validator_of(checkpoint, odometry, jump_gate=0.0)
    assert validator.validate(fix_of(view(40.0))).trusted and validator.predict(SECOND) is None
    assert validator.validate_verified(verified_at(50.0), leads=False).trusted
    odometry.pose = Pose([2.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0])
    predicted = validator.predict(2 * SECOND)
    assert predicted is not None
    # The body looks 0.1 radians to the left of x.
    np.testing.assert_allclose(
        predicted.pose.position, [50 + 2 * np.cos(0.1), 2 * np.sin(0.1), 0.0], atol=1e-9
    )
    odometry.known_from_ns = 3 * SECOND
    assert validator.predict(2 * SECOND) is None
    odometry.known_from_ns = 0
    validator.reset()
    assert validator.predict(2 * SECOND) is None


def test_what_a_map_verified_counts_outside_the_region_and_a_pose_that_is_none_does_not(
    checkpoint: Checkpoint,
) -> None:
    validator = validator_of(checkpoint)
    far = verified_at(50.0)
    far = replace(far, views=(view(50.0, 1e3),))
    assert validator.validate_verified(far, leads=True).trusted and not validator.validate(far).trusted
    assert validator.validate_verified(replace(far, base=None, published=None), leads=True).fix is None
