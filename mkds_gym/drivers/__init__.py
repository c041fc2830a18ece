"""Scripted drivers and their times."""
