/* The kart, its wheels and its driver as packed geometry commands. */
#ifndef KARTLAB_KART_MODEL_H
#define KARTLAB_KART_MODEL_H

#include <stdint.h>

/* Model space: x right, y up, z BACKWARDS (so that it is right-handed), the origin on the floor
 * between the wheels.  A vertex of 1.0 is KART_MODEL_SCALE world units. */
#define KART_MODEL_SCALE 4

/* One part: words for the GX FIFO, to be sent after the matrix and the polygon attributes. */
struct kart_part {
    uint32_t *words;
    uint32_t count;
};

enum { KART_BODY, KART_DRIVER, KART_WHEEL, KART_SHADOW = KART_WHEEL + 4, KART_PARTS };

/* Where the wheels and the driver turn: world units in kart space, fx32. */
struct kart_pivot {
    int32_t x, y, z;
};
extern const struct kart_pivot kart_wheel_pivot[4]; /* front left, front right, rear left, rear right */
extern const int32_t kart_wheel_radius[2];          /* front, rear: fx32 world units */

extern struct kart_part kart_parts[KART_PARTS];

/* Builds all parts; once, at the start. */
void kart_model_init(void);

#endif
