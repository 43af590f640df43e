"""Contrastive Syn-to-Real Generalization (CSG) and its rivals: train and measure one configuration."""

import os

# Threads that wait for each other keep their core busy meanwhile: where other work needs it, a step takes several
# times as long. Threads that sleep at once make every step slower instead. Hence a short wait: on a quiet machine a
# step takes as long as with none. Read by GNU's OpenMP (torch on Linux) when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
