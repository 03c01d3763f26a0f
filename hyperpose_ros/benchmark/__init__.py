"""How long an image takes on its way through the localizer."""
