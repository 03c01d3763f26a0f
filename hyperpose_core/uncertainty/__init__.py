"""How far off an estimate may be, and whether it can be of a place that was trained on."""
