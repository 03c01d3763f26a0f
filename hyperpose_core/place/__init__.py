"""From posed images to everything that a robot needs to localise at a place."""
