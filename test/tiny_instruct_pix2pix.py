"""An InstructPix2Pix pipeline of random weights, built from its configuration: nothing is downloaded."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    EulerAncestralDiscreteScheduler,
    StableDiffusionInstructPix2PixPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_TOKENS = [*_LETTERS, *(f"{letter}</w>" for letter in _LETTERS), "<|startoftext|>", "<|endoftext|>"]
_WIDTH = 16


def save_tiny_pipeline(folder: Path) -> Path:
    """Save the pipeline as safetensors below a folder, as `save_pretrained` lays it out, and return where."""
    torch.manual_seed(0)
    pipeline = StableDiffusionInstructPix2PixPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8, 16),
            norm_num_groups=4,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
        ),
        text_encoder=_text_encoder(),
        tokenizer=_tokenizer(folder),
        # Four channels of noise and four of the source image.
        unet=UNet2DConditionModel(
            in_channels=8,
            out_channels=4,
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=_WIDTH,
            attention_head_dim=4,
        ),
        scheduler=EulerAncestralDiscreteScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    path = folder / "pipeline"
    pipeline.save_pretrained(path)
    return path


def _tokenizer(folder: Path) -> CLIPTokenizer:
    """A vocabulary of single letters."""
    (folder / "vocab.json").write_text(json.dumps({token: place for place, token in enumerate(_TOKENS)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


def _text_encoder() -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(_TOKENS),
            hidden_size=_WIDTH,
            intermediate_size=_WIDTH,
            num_attention_heads=4,
            num_hidden_layers=1,
            bos_token_id=len(_TOKENS) - 2,
            eos_token_id=len(_TOKENS) - 1,
            pad_token_id=len(_TOKENS) - 1,
        )
    )
