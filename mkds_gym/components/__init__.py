"""Sensors, actions, observations, metrics, events and rewards, by name."""
