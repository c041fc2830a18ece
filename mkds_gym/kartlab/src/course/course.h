/* Loads a course: its collision, map and model. */
#pragma once

#include "game.h"

/* Returns 0 when the course does not exist; nothing has changed then. */
int course_load(const race_choice *choice);
