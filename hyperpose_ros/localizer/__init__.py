"""The localizer: the lifecycle node, from its parameters to its topics."""
