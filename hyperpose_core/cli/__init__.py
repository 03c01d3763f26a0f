"""The `hyperpose` command line: one file a verb."""
