"""Landmark maps: built from posed images, and what tells a camera's pose to the centimetre from one image."""
