/* The sky and the sea behind the course. */
#pragma once

#include <stdint.h>

/* Colours beyond the course (15 bit). */
struct sky_colours {
    uint16_t top, bottom;       /* the sky at the top and at the horizon */
    uint16_t sea_far, sea_near; /* the sea, or sand, or clouds */
    uint16_t hills, clouds;
};

void sky_init(const struct sky_colours *colours);

/* Notes the last view sent, before the camera moves on. */
void sky_look(void);
/* Turns the panorama to that view, in the VBlank. */
void sky_frame(void);
