"""The localizer's parameters on a real node: defaults, overrides, refusals, and what may change when."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")

from domains import claimed_domain  # noqa: E402
from rcl_interfaces.msg import ParameterType  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402

from hyperpose_core.errors import HyperPoseError  # noqa: E402
from hyperpose_ros.parameters.declaration import Change, declarations  # noqa: E402
from hyperpose_ros.parameters.evaluator import EvaluatorParameters
from hyperpose_ros.parameters.localizer import LocalizerParameters  # noqa: E402
from hyperpose_ros.parameters.on_node import NodeParameters, has_override, unused_overrides  # noqa: E402
from hyperpose_ros.parameters.viewer import ViewerParameters

NodeMaker = Callable[..., Node]


@pytest.fixture(scope="module")
def context() -> Iterator[Context]:
    with claimed_domain() as domain_id:
        context = Context()
        context.init(args=[], domain_id=domain_id)
        yield context
        context.shutdown()


@pytest.fixture
def make_node(context: Context) -> Iterator[NodeMaker]:
    nodes: list[Node] = []

    def make(*arguments: str) -> Node:
        command_line = ["--ros-args", *(word for argument in arguments for word in ("-p", argument))]
        node = Node("localizer", context=context, cli_args=command_line, use_global_arguments=False)
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.destroy_node()


def test_a_node_without_overrides_has_the_declared_defaults(make_node: NodeMaker) -> None:
    assert NodeParameters(make_node(), LocalizerParameters).values == LocalizerParameters()


def test_overrides_are_applied(make_node: NodeMaker) -> None:
    node = make_node(
        "checkpoint:=/a/b", "threads:=3", "max_age:=0.5", "camera_extrinsics:=[1.,2.,3.,0.,0.,0.]"
    )
    values = NodeParameters(node, LocalizerParameters).values
    assert (values.checkpoint, values.threads, values.max_age) == ("/a/b", 3, 0.5)
    assert values.camera_extrinsics == (1.0, 2.0, 3.0, 0.0, 0.0, 0.0)


def test_extrinsics_may_be_given_as_an_empty_list(make_node: NodeMaker) -> None:
    assert (
        NodeParameters(make_node("camera_extrinsics:=[]"), LocalizerParameters).values.camera_extrinsics == ()
    )


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("max_age:=1", "max_age is 1, of type integer; it must be of type double.*1.0, not 1"),
        ("max_age:=-0.1", "max_age is -0.1; it must be 0 to 3600"),
        ("max_age:=.nan", "max_age is nan; it must be 0 to 3600"),
        ("threads:=many", "threads is 'many', of type string; it must be of type integer"),
        ("threads:=-1", "threads is -1; it must be 0 to 256"),
        (
            "image_reliability:=fast",
            "image_reliability is 'fast'; it must be one of auto, reliable, best_effort",
        ),
        ("tf_mode:=map_odom_", "tf_mode is 'map_odom_'; it must be one of"),
        ("camera_extrinsics:=[1.,2.]", "camera_extrinsics is .*6 or 7 numbers"),
        ("camera_extrinsics:=[1,2,3,0,0,0]", "camera_extrinsics is .* integer_array.*1.0, not 1"),
        ("camera_extrinsics:=[1.,2.,3.,0.,0.,.inf]", "camera_extrinsics is .*inf"),
        ("autostart:=1", "autostart is 1, of type integer; it must be of type bool"),
    ],
)
def test_an_impossible_override_is_refused_with_the_reason(
    make_node: NodeMaker, override: str, reason: str
) -> None:
    with pytest.raises(HyperPoseError, match=reason) as caught:
        NodeParameters(make_node(override), LocalizerParameters)
    assert "\n" not in str(caught.value)


def test_an_override_that_nothing_declares_is_named_with_the_nearest_name(make_node: NodeMaker) -> None:
    node = make_node("chekpoint:=/a/b", "qos_overrides./imagee.subscription.depth:=3", "use_sim_time:=true")
    NodeParameters(node, LocalizerParameters)
    sentences = unused_overrides(node)
    assert set(sentences) == {"chekpoint", "qos_overrides./imagee.subscription.depth"}
    assert "did you mean checkpoint?" in sentences["chekpoint"]
    assert has_override(node, "chekpoint") and not has_override(node, "checkpoint")


def test_what_may_change_at_any_time_does_and_bad_values_do_not(make_node: NodeMaker) -> None:
    node = make_node()
    configured: list[bool] = []
    parameters = NodeParameters(node, LocalizerParameters, lambda: bool(configured))
    configured.append(True)
    assert node.set_parameters([Parameter("path_length", value=7)])[0].successful
    assert parameters.values.path_length == 7
    refused = node.set_parameters(
        [Parameter("path_length", value=-7), Parameter("max_age", value=float("nan"))]
    )
    assert not any(result.successful for result in refused)
    assert "path_length" in refused[0].reason and "max_age" in refused[1].reason
    assert parameters.values.path_length == 7 and parameters.values.max_age == 0.0


def test_what_is_read_at_configuration_changes_only_before_it(make_node: NodeMaker) -> None:
    node = make_node()
    configured: list[bool] = []
    parameters = NodeParameters(node, LocalizerParameters, lambda: bool(configured))
    assert node.set_parameters([Parameter("map_frame", value="first")])[0].successful
    configured.append(True)
    result = node.set_parameters([Parameter("map_frame", value="second")])[0]
    assert not result.successful and "after a cleanup" in result.reason
    assert parameters.values.map_frame == "first"


def test_the_checkpoint_may_be_named_at_any_time_and_says_what_loads_it(make_node: NodeMaker) -> None:
    node = make_node("checkpoint:=/first")
    configured: list[bool] = []
    parameters = NodeParameters(node, LocalizerParameters, lambda: bool(configured))
    configured.append(True)
    assert node.set_parameters([Parameter("checkpoint", value="/second")])[0].successful
    assert parameters.values.checkpoint == "/second"
    assert "~/load_checkpoint" in node.describe_parameter("checkpoint").additional_constraints


def test_what_is_read_at_the_start_never_changes(make_node: NodeMaker) -> None:
    node = make_node()
    NodeParameters(node, LocalizerParameters)
    assert not node.set_parameters([Parameter("autostart", value=False)])[0].successful


def test_every_parameter_describes_itself(make_node: NodeMaker) -> None:
    node = make_node()
    NodeParameters(node, LocalizerParameters)
    for declaration in declarations(LocalizerParameters):
        described = node.describe_parameter(declaration.name)
        assert described.description and described.additional_constraints
        assert described.read_only == (declaration.change is Change.START)
        assert described.type not in (ParameterType.PARAMETER_NOT_SET, ParameterType.PARAMETER_BYTE_ARRAY)
        assert described.type == declaration.type.value
    assert node.describe_parameter("max_age").floating_point_range[0].to_value == 3600.0
    assert node.describe_parameter("threads").integer_range[0].to_value == 256
    assert "map_base, map_camera" in node.describe_parameter("tf_mode").additional_constraints


@pytest.mark.parametrize("kind", [LocalizerParameters, EvaluatorParameters, ViewerParameters])
def test_all_can_be_asked_for_at_once(make_node: NodeMaker, kind: type) -> None:
    """As `ros2 param dump` does: one without a value would empty the answer for all."""
    node = make_node()
    parameters = NodeParameters(node, kind)
    names = [declaration.name for declaration in declarations(kind)]
    assert [parameter.name for parameter in node.get_parameters(names)] == names
    if kind is LocalizerParameters:
        assert node.get_parameter("camera_extrinsics").value == []
        assert node.get_parameter("camera_extrinsics").type_ is Parameter.Type.DOUBLE_ARRAY
        assert parameters.values.camera_extrinsics == ()
        extrinsics = [0.0, 0.0, 1.0, -1.57, 0.0, -1.57]
        assert node.set_parameters([Parameter("camera_extrinsics", value=extrinsics)])[0].successful
        assert parameters.values.camera_extrinsics == tuple(extrinsics)


def test_off_is_a_choice_although_yaml_takes_it_for_false(make_node: NodeMaker) -> None:
    assert NodeParameters(make_node("refinement:=off"), LocalizerParameters).values.refinement == "off"
    with pytest.raises(HyperPoseError, match="refinement is True, of type bool"):
        NodeParameters(make_node("refinement:=on"), LocalizerParameters)
