"""Contrastive Syn-to-Real Generalization (CSG) and its rivals: train and measure one configuration."""

from csg.environment import set_defaults

set_defaults()
