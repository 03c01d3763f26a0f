"""Seeded random damage to every file that is read and every input of the nodes: `make fuzz MINUTES=5`."""
