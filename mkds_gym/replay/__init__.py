"""Recordings driven again, and in other forms."""
