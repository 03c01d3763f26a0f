"""Training: recipes as data, images kept decoded, augmentation on tensors, the trainer."""
