"""PoseNet, HyperPose, AtLoc and AtLoc with the hypernetwork, plainly."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.plain.backbones import efficientnet
from hyperpose_core.geometry.torch_rotations import quaternion_exponential
from hyperpose_core.models.output import PoseOutput

BRANCHES = {"t": (256, 3), "rot": (512, 4)}
"""Width of the hypernetwork and number of outputs, by branch."""


def generated_linear(inputs: Tensor, weights: Tensor) -> Tensor:
    """Apply to inputs [N, D] each sample's own layer, whose flat weights are [N, (D + 1) * outputs]."""
    ones = torch.ones(len(inputs), 1)
    extended = torch.cat([inputs, ones], dim=1).unsqueeze(1)
    return torch.matmul(extended, weights.view(len(inputs), inputs.shape[1] + 1, -1)).squeeze(1)


class PlainPoseNet(nn.Module):
    """EfficientNet-B0 or -Lite0, one fully connected layer, two linear heads."""

    def __init__(self, lite: bool, hidden_width: int) -> None:
        super().__init__()
        self.features = efficientnet(lite)
        self.pooling = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Linear(1280, hidden_width)
        self.fc2 = nn.Linear(hidden_width, 3)
        self.fc3 = nn.Linear(hidden_width, 4)

    def forward(self, images: Tensor) -> PoseOutput:
        """Regress poses of images [N, 3, H, W]."""
        return self.heads(self.pooling(self.features(images)).flatten(1))

    def heads(self, pooled: Tensor) -> PoseOutput:
        """Regress poses from pooled features [N, 1280]."""
        hidden = F.relu(self.fc1(pooled))
        return PoseOutput(self.fc2(hidden), self.fc3(hidden))


class GeneratedHeads(nn.Module):
    """The generated heads of both branches of a single-scene network, under their released names."""

    def add_generated_heads(self, features: int, generator_width: int, rotation_outputs: int) -> None:
        """Make the layers; a generator width of 0 is the paper's."""
        for branch, (width, outputs) in BRANCHES.items():
            hidden = generator_width or width
            outputs = rotation_outputs if branch == "rot" else outputs
            self.add_module(f"hyper_in_{branch}_proj", nn.Linear(features, width))
            self.add_module(f"hyper_in_{branch}_fc_2", nn.Linear(width, hidden))
            self.add_module(f"hypernet_{branch}_fc_h2", nn.Linear(hidden, (width + 1) * outputs))
            self.add_module(f"hyper_in_{branch}", nn.Linear(features, width))

    def generated(self, branch: str, features: Tensor) -> Tensor:
        """Write a branch's head from features [N, F] and apply it to them."""
        condition = self.get_submodule(f"hyper_in_{branch}_proj")(features)
        hidden = F.silu(self.get_submodule(f"hyper_in_{branch}_fc_2")(condition))
        weights = self.get_submodule(f"hypernet_{branch}_fc_h2")(hidden)
        return generated_linear(self.get_submodule(f"hyper_in_{branch}")(features), weights)


class PlainHyperPose(PlainPoseNet, GeneratedHeads):
    """PoseNet with generated heads added to its own."""

    def __init__(self, lite: bool, hidden_width: int, generator_width: int) -> None:
        super().__init__(lite, hidden_width)
        self.add_generated_heads(1280, generator_width, 4)

    def heads(self, pooled: Tensor) -> PoseOutput:
        """Regress poses from pooled features [N, 1280]."""
        position, orientation = super().heads(pooled)[:2]
        return PoseOutput(position + self.generated("t", pooled), orientation + self.generated("rot", pooled))


class _Attention(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.g = nn.Linear(width, inner)
        self.theta = nn.Linear(width, inner)
        self.phi = nn.Linear(width, inner)
        self.W = nn.Linear(inner, width)

    def forward(self, features: Tensor) -> Tensor:
        content = self.g(features).unsqueeze(2)
        scores = torch.matmul(self.phi(features).unsqueeze(2), self.theta(features).unsqueeze(1))
        attended = torch.matmul(F.softmax(scores, dim=-1), content).squeeze(2)
        return features + self.W(attended)


class PlainAtLoc(nn.Module):
    """ResNet-34, attention over its features, two linear heads."""

    def __init__(self, width: int, attention_width: int, rotation_outputs: int) -> None:
        super().__init__()
        self.feature_extractor = torchvision.models.resnet34(weights=None)
        self.feature_extractor.fc = nn.Linear(512, width)
        self.att = _Attention(width, attention_width)
        self.fc_xyz = nn.Linear(width, 3)
        self.fc_wpqr = nn.Linear(width, rotation_outputs)

    def forward(self, images: Tensor) -> PoseOutput:
        """Regress poses of images [N, 3, H, W]."""
        attended = self.att(F.relu(self.feature_extractor(images)))
        position, rotation = self.heads(attended)
        return PoseOutput(position, quaternion_exponential(rotation) if rotation.shape[1] == 3 else rotation)

    def heads(self, attended: Tensor) -> tuple[Tensor, Tensor]:
        """Give both heads' numbers for attended vectors [N, width]."""
        return self.fc_xyz(attended), self.fc_wpqr(attended)


class PlainHyperAtLoc(PlainAtLoc, GeneratedHeads):
    """AtLoc with generated heads added to its own."""

    def __init__(self, width: int, attention_width: int, rotation_outputs: int, generator_width: int) -> None:
        super().__init__(width, attention_width, rotation_outputs)
        self.add_generated_heads(width, generator_width, rotation_outputs)

    def heads(self, attended: Tensor) -> tuple[Tensor, Tensor]:
        """Give both heads' numbers for attended vectors [N, width]."""
        position, rotation = super().heads(attended)
        return position + self.generated("t", attended), rotation + self.generated("rot", attended)
