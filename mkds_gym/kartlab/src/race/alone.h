/* Alone together: hosted drivers in one console, each in a race of its own.
 *
 * Each driver has a race of one driver, which the code runs as any other race: `alone_select` makes
 * the globals of a race those of one driver. Drivers have no effect on each other. */
#pragma once

#include <stdint.h>

void alone_init(void);                 /* at a race's start, after the shared structures */
void alone_select(uint32_t index);     /* the code that follows is about this driver's race */

/* Around the work of a frame: reads the host block, and publishes what the host reads. */
void alone_begin(void);
void alone_end(void);

int alone_started(void);               /* whether the frame that publishes the race is over */
uint32_t alone_shown(void);            /* driver in the picture, or SHOWN_NOBODY */
int alone_moves(uint32_t index);       /* whether the driver takes part in this frame */
uint16_t alone_keys(uint32_t index);
void alone_save(uint32_t index);       /* after a driver's work: copies its state if the host wants that */
