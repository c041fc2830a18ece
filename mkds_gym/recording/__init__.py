"""Recordings of races, and what records them."""
