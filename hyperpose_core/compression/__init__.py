"""Makes checkpoints smaller: int8 or bfloat16 weights, generators as the product of two factors."""
