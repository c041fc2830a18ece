/* The course: chunks of packed commands from course_model.klm. */
#pragma once

#include "draw/sky.h"
#include "race/camera.h"

void draw_course_init(const void *klm); /* null: no model */
void draw_course(const struct view *view);
extern struct sky_colours draw_sky;     /* of the course */
