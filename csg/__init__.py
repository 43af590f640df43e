"""Contrastive Syn-to-Real Generalization (CSG) and its rivals: train and measure one configuration."""
