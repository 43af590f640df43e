"""Contrastive Syn-to-Real Generalization (CSG) and its rivals: train and measure one configuration."""

import os

# Threads that wait for each other would otherwise keep their core busy: with as many as cores, and anything else at
# work on the machine, a step takes several times as long. This has to be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
