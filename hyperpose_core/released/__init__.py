"""Weights released with the paper, turned into checkpoints."""
