"""Readers of the event stream and of what a run has found: text, pictures, progress."""
