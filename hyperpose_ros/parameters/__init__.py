"""Parameters of the nodes: declared once, checked on every change."""
