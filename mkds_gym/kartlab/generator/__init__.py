"""Random courses: a seed and a difficulty give a course description, the same on every machine.

`generate` lays a loop around a random shape of squares, which keeps the roads apart, bends its
corners into curves that a kart can take, and adds hills, edges and colours. Difficulty 0 is wide,
gentle and walled; 1 is narrow, tight and open to the drop. The shape of a seed's course changes
little with the difficulty.
"""

from mkds_gym.kartlab.generator.course import (
    COURSE_ID,
    LONGEST,
    SEEDS,
    SHORTEST,
    TEST_SEEDS,
    TRAIN_SEEDS,
    generate,
    random_course,
    random_course_data,
)

__all__ = [
    "COURSE_ID",
    "LONGEST",
    "SEEDS",
    "SHORTEST",
    "TEST_SEEDS",
    "TRAIN_SEEDS",
    "generate",
    "random_course",
    "random_course_data",
]
