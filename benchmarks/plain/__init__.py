"""The networks as the paper describes them and the released code runs them; engines are held against these.

Stock modules of torch and torchvision, float32, one layer after the other: attention by
`nn.MultiheadAttention` with its defaults, both branches and the hypernetworks' layers one by one, batch norm
unfolded, and in MS-HyperPose the backbone run twice an image, once for the endpoints and once for the pooled
features. What is not the method but a slip of the released code (dropout at evaluation, padding masks that
mask nothing) is left out.

The modules carry the released names, so a released state dict goes in almost as it is (`weights.py`).
"""

from benchmarks.plain.weights import build_plain_network, plain_network, released_state

__all__ = ["build_plain_network", "plain_network", "released_state"]
