/* Loads a course: its collision, map and model. */
#ifndef KARTLAB_COURSE_H
#define KARTLAB_COURSE_H

#include "game.h"

/* Returns 0 when the course does not exist; nothing has changed then. */
int course_load(const race_choice *choice);

#endif
