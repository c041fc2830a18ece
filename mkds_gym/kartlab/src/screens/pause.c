#include "screens/pause.h"

#include "hud/overlay.h"
#include "hud/screen.h"
#include "platform/pad.h"
#include "screens/sound.h"

#define LEFT 5
#define TOP 6
#define WIDTH 21

static const char *const entries[] = {"RESUME", "RESTART", "QUIT"};
static int count, chosen, drawn; /* drawn: the entry that is lit; -1: the window is not open yet */
static uint32_t age;

void pause_open(int hosted) {
    count = hosted ? 1 : 3;
    chosen = 0;
    drawn = -1;
    age = 0;
}

void pause_show(void) {
    age++;
    overlay_word("PAUSED", 62, overlay_pop(age), LETTERS_ICE);
    if (drawn == chosen) {
        return;
    }
    if (drawn < 0) {
        window_open(LEFT, TOP, WIDTH, 5 + 3 * count);
        window_small(LEFT + 6, TOP + 1, "RACE PAUSED", CYAN);
        window_small(LEFT + 2, TOP + 3 + 3 * count, count > 1 ? "A CHOOSE START GO" : "START GOES ON", DIM);
    }
    drawn = chosen;
    for (int i = 0; i < count; i++) {
        window_small(LEFT + 2, TOP + 3 + 3 * i, i == chosen ? FONT_RIGHT : " ", GOLD);
        window_medium(LEFT + 4, TOP + 3 + 3 * i, entries[i], i == chosen ? GOLD : DIM);
    }
}

enum next pause_move(void) {
    if (pad.tapped & KEY_DOWN) {
        chosen = (chosen + 1) % count;
    } else if (pad.tapped & KEY_UP) {
        chosen = (chosen + count - 1) % count;
    }
    if (pad.tapped & (KEY_DOWN | KEY_UP) && count > 1) {
        sound_play(SOUND_MOVE);
    }
    int choose = pad.pressed & KEY_A && count > 1;
    if (pad.pressed & KEY_START || (choose && chosen == 0)) {
        window_close();
        return NEXT_RESUME;
    }
    if (choose) {
        return chosen == 1 ? NEXT_RACE : NEXT_MENU;
    }
    return NEXT_STAY;
}
