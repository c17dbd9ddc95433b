"""Rows to message: what happens inside one partition."""
