"""The report's experiments."""
