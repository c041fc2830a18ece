"""Evolves drivers for mkds_gym."""
