/* The sky and the sea behind the course. */
#ifndef KARTLAB_SKY_H
#define KARTLAB_SKY_H

#include <stdint.h>

/* Paints the panorama into bank B; colours of the zenith and of the horizon (15 bit). */
/* What is beyond the course, as 15-bit colours. */
struct sky_colours {
    uint16_t top, bottom;       /* the sky, and at the horizon */
    uint16_t sea_far, sea_near; /* or sand, or clouds */
    uint16_t hills, clouds;
};

void sky_init(const struct sky_colours *colours);

/* In the VBlank: turns the panorama to the view sent last. */
void sky_frame(void);

#endif
