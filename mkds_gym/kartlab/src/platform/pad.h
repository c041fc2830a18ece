/* The keys, as a person presses them. */
#pragma once

#include <stdint.h>

enum { /* 1: held */
    KEY_A = 1 << 0, KEY_B = 1 << 1, KEY_SELECT = 1 << 2, KEY_START = 1 << 3, KEY_RIGHT = 1 << 4,
    KEY_LEFT = 1 << 5, KEY_UP = 1 << 6, KEY_DOWN = 1 << 7, KEY_R = 1 << 8, KEY_L = 1 << 9,
    KEY_X = 1 << 10, KEY_Y = 1 << 11,
};

struct pad {
    uint16_t held, pressed;
    uint16_t tapped; /* pressed, then repeated while held: for lists */
};
extern struct pad pad;

/* Once a frame. */
void pad_read(void);

/* Around work that takes several frames: keys tapped in between count in the next frame. */
void pad_look_away(void);
void pad_look_back(void);
