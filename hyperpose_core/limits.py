"""The largest things that are read from files and messages, and made of them: memory is never spent on more.

All of them are far beyond what a camera, a dataset or a recipe has.
"""

from __future__ import annotations

LARGEST_IMAGE_PIXELS = 1 << 26
"""Of an image that is decoded: more than any camera has."""

LARGEST_INPUT_PIXELS = 1 << 22
"""Of a resized image, which a narrow one makes large: 1x20,000 pixels become 256x5,120,000."""

MOST_JPEG_WORK = 1 << 30
"""Pixels of a JPEG times its scans: a photograph of 50 megapixels has about ten."""

LARGEST_EXPORTED_BYTES = (1 << 31) - 1
"""Of an exported network: what a protocol buffer may have."""

LARGEST_IMAGE_BYTES = 1 << 28
"""Of an image file: `LARGEST_IMAGE_PIXELS` without compression."""

LARGEST_DOCUMENT_BYTES = 1 << 24
"""Of a file of settings that people write: a recipe, prompts, tags, the description of a run."""

LARGEST_TABLE_BYTES = 1 << 29
"""Of a file of poses, of points or of images' names."""

DEEPEST_DOCUMENT = 64
"""Levels of nesting in JSON and YAML."""
