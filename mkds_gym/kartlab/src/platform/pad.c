#include "platform/pad.h"

#include "platform/hw.h"
#include "platform/memory_map.h"

#define REPEAT_FIRST 20 /* frames until a held key repeats for the first time */
#define REPEAT_NEXT 6   /* frames between repeats */

struct pad pad;
static uint32_t held_for;
static uint16_t missed; /* keys that went down between pad_look_away and pad_look_back */

void pad_read(void) {
    uint32_t low = ~HW_KEYINPUT & 0x3FF, extra = ~SHARED_EXTKEYIN & 3;
    uint16_t held = (uint16_t)(low | extra << 10);
    pad.pressed = (held & (uint16_t)~pad.held) | missed;
    missed = 0;
    pad.tapped = pad.pressed;
    held_for = held && held == pad.held ? held_for + 1 : 0;
    if (held_for >= REPEAT_FIRST && (held_for - REPEAT_FIRST) % REPEAT_NEXT == 0) {
        pad.tapped = held;
    }
    pad.held = held;
}

void pad_look_away(void) { SHARED_TAPS = 0; }

void pad_look_back(void) { missed = SHARED_TAPS; }
