"""Files and caches."""
