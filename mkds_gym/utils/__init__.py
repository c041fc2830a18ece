"""Argument checks, files and caches."""
