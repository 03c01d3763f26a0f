"""A network and a landmark map together: one says where to look, the other where it is, and whether."""
