"""How well a model does: metrics, planted errors, the best that is possible."""
