"""What runs a network in PyTorch, and what they share with other runtimes."""
