/* Loads a course: its collision, map and model. */
#ifndef KARTLAB_COURSE_H
#define KARTLAB_COURSE_H

#include "game.h"

/* 0: there is no such course, and nothing has changed. */
int course_load(const race_choice *choice);

#endif
