/* What the second screen and the letters show. The race may already be one frame ahead of the
 * picture: these are copies of the frame that the picture shows. */
#pragma once

#include "game.h"
#include "kart/kart.h"

struct seen {
    driver kart;               /* the shown driver, as the next one */
    struct kart own;
    race_status status;
    vec3 positions[DRIVERS_MAX];
    uint16_t keys;             /* of the shown driver */
    uint32_t last_lap_frames, since_lap;
};
extern struct seen seen;
