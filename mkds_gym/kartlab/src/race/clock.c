#include "race/clock.h"

/* A frame takes 16.715 ms. */
uint32_t clock_milliseconds(uint32_t frames) {
    return frames / 1000 * 16715 + frames % 1000 * 16715 / 1000;
}

race_time clock_split(uint32_t milliseconds) {
    uint32_t minutes = milliseconds / 60000;
    if (minutes > 99) {
        return (race_time){999, 99, 59};
    }
    return (race_time){(uint16_t)(milliseconds % 1000), (uint8_t)minutes,
                       (uint8_t)(milliseconds / 1000 % 60)};
}

race_time clock_time(uint32_t frames) { return clock_split(clock_milliseconds(frames)); }
