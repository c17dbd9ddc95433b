"""A run as one page that can be read anywhere: the report, and the small verdict of notebooks."""
