"""The generated linear layer: a hypernetwork writes its weights, for every image its own (paper, 3.2).

Every network with a hypernetwork in this package is made of this one module.
"""

import math

import torch
from torch import Tensor, nn

from hyperpose_core.models.precision import full_precision

INITIALISATIONS = ("zero", "released")


class GeneratedLinear(nn.Module):
    """y = [x, 1] W, where W = generator(swish(hidden(condition))) differs from sample to sample.

    The generator's flat output is viewed as (N, inputs + 1, outputs), row-major; its last row is the bias.

    Args:
        condition_features: width of what the weights are generated from.
        in_features: width of x.
        out_features: width of y.
        hidden_features: width of the hypernetwork's hidden layer.
        keep_precision: compute y in float32 under autocast, for layers whose y is part of a pose.
    """

    def __init__(
        self,
        condition_features: int,
        in_features: int,
        out_features: int,
        hidden_features: int,
        keep_precision: bool = False,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.keep_precision = keep_precision
        self.hidden = nn.Linear(condition_features, hidden_features)
        self.generator = nn.Linear(hidden_features, (in_features + 1) * out_features)

    def initialise(self, initialisation: str, starts_at_zero: bool) -> None:
        """Set the initial weights.

        "zero": the generated layer starts the same for all images, as an ordinary layer with He
        initialisation, or as a layer of zeros where `starts_at_zero`; what depends on the image is learned.
        "released": He initialisation of the hypernetwork's own layers, as in the released code; generated
        weights then start with a large spread, and poses start metres off.

        Args:
            initialisation: one of `INITIALISATIONS`.
            starts_at_zero: with "zero", whether y itself starts at zero (a head's last layer).
        """
        if initialisation == "released":
            nn.init.kaiming_normal_(self.hidden.weight)
            nn.init.kaiming_normal_(self.generator.weight)
            return
        nn.init.zeros_(self.generator.weight)
        nn.init.zeros_(self.generator.bias)
        if not starts_at_zero:
            with torch.no_grad():
                static = self.generator.bias.view(self.in_features + 1, self.out_features)
                static[:-1].normal_(std=math.sqrt(2.0 / self.in_features))

    def forward(self, inputs: Tensor, condition: Tensor) -> Tensor:
        """Apply each sample's own layer to it.

        Args:
            inputs: [N, in_features].
            condition: [N, condition_features].

        Returns:
            [N, out_features].
        """
        flat = self.generator(nn.functional.silu(self.hidden(condition)))
        weights = flat.view(-1, self.in_features + 1, self.out_features)
        if self.keep_precision:
            with full_precision(inputs):
                return _apply(inputs.float(), weights.float())
        return _apply(inputs, weights)


class GeneratedHead(nn.Module):
    """The generated head of the single-scene networks: one generated layer on a projection of the features.

    Args:
        in_features: width of the image's feature vector.
        width: width of both projections (256 for positions, 512 for orientations in the paper).
        out_features: 3 for positions, 4 for quaternions.
        generator_width: width of the hypernetwork's hidden layer; 0 means `width`, as in the paper.
        initialisation: one of `INITIALISATIONS`.
    """

    def __init__(
        self, in_features: int, width: int, out_features: int, generator_width: int, initialisation: str
    ) -> None:
        super().__init__()
        self.condition = nn.Linear(in_features, width)
        self.inputs = nn.Linear(in_features, width)
        self.layer = GeneratedLinear(
            width, width, out_features, generator_width or width, keep_precision=True
        )
        if initialisation == "released":
            nn.init.kaiming_normal_(self.condition.weight)
            nn.init.kaiming_normal_(self.inputs.weight)
        self.layer.initialise(initialisation, starts_at_zero=True)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, in_features] to [N, out_features]."""
        return self.layer(self.inputs(features), self.condition(features))


def _apply(inputs: Tensor, weights: Tensor) -> Tensor:
    return torch.baddbmm(weights[:, -1:], inputs.unsqueeze(1), weights[:, :-1]).squeeze(1)
