"""Recordings of races: the file format, and recorders of environments and consoles."""

from mkds_gym.recording.format import Recording, Start
from mkds_gym.recording.recorder import ConsoleRecorder, Recorder

__all__ = ["ConsoleRecorder", "Recorder", "Recording", "Start"]
