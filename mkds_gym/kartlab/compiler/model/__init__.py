"""The drawn course: `course_model.klm`, Kartlab's picture of the road and its surroundings."""

from mkds_gym.kartlab.compiler.model.course_model import build_klm
from mkds_gym.kartlab.compiler.model.klm import ModelStatistics

__all__ = ["ModelStatistics", "build_klm"]
