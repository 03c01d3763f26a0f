"""Images in, poses out."""
