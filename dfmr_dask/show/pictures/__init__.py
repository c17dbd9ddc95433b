"""Pictures of what a run has found: each drawn onto axes by one function, wherever it is shown."""
