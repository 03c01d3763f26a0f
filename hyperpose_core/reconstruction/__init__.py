"""Poses of images that have none: structure from motion over videos, folders and bags."""
