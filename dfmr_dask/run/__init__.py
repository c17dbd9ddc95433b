"""The engine: the order of the stages, where they run, what is written down."""
