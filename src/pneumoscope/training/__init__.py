"""Training: one recipe to one run folder with a bundle."""
