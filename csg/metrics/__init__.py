"""Pure functions that measure a trained model."""
