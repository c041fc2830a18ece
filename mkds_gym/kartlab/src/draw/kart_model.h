/* The kart, its wheels and its driver as packed geometry commands. */
#pragma once

#include "draw/list.h"

/* Model space: x right, y up, z BACKWARDS (right-handed), the origin on the floor
 * between the wheels. */

/* The caller sets the material of PAINT and HELMET. Wheels are unlit, other parts lit. */
enum {
    /* the near kart, and its faces that are only visible from the front */
    KART_PAINT, KART_TRIM, KART_DRIVER, KART_HELMET, KART_WHEEL,
    KART_FRONT_PAINT = KART_WHEEL + 4, KART_FRONT_TRIM, KART_FRONT_HELMET,
    KART_MIDDLE_PAINT, KART_MIDDLE_TRIM, /* wheels and driver included */
    KART_FAR_PAINT, KART_FAR_TRIM,
    KART_SHADOW,
    KART_PARTS,
};

/* Where the wheels and the driver turn: world units in kart space, fx32. */
struct kart_pivot {
    int32_t x, y, z;
};
extern const struct kart_pivot kart_wheel_pivot[4]; /* front left, front right, rear left, rear right */

extern struct display_list kart_parts[KART_PARTS];

/* Builds all parts; after lists_init. */
void kart_model_init(void);
