"""Networks: the Vision Transformer, the CNN baseline, their sizes and weights."""
