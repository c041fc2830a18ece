/* A kart's effects: drift sparks, flames of a boost, dust, streaks of wind. */
#pragma once

#include "race/camera.h"

void draw_effects_init(void);
/* `place` is the kart model's matrix: x right, y up, z backwards. */
void draw_effects(const struct view *view, const driver *kart, const struct view_matrix *place);
