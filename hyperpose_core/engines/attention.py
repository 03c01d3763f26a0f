"""Attention of prepared networks, whose queries are scaled already."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    """View tokens [N, L, width] as [N, heads, L, width / heads]."""
    return tokens.unflatten(2, (heads, -1)).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend from scaled queries [N, heads, Q, d] to keys and values [N, heads, K, d].

    Returns:
        [N, Q, heads * d].
    """
    attended = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
    return attended.transpose(1, 2).flatten(2)
