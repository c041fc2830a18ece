/* The sky and the sea behind the course. */
#ifndef KARTLAB_SKY_H
#define KARTLAB_SKY_H

#include <stdint.h>

/* Paints the panorama into bank B; colours of the zenith and of the horizon (15 bit). */
void sky_init(uint16_t top, uint16_t bottom);

/* In the VBlank: turns the panorama to the view sent last. */
void sky_frame(void);

#endif
