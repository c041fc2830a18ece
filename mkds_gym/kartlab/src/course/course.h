/* Loads a course: its collision, map and model. */
#pragma once

#include "game.h"

/* Returns 0 and changes nothing if the course does not exist. */
int course_load(const race_choice *choice);
