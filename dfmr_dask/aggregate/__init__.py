"""Messages to model and verdict: alignment, distances, filter, reduction."""
