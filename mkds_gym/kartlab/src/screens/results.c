#include "screens/results.h"

#include "game.h"
#include "hud/screen.h"
#include "hud/seen.h"
#include "platform/pad.h"
#include "race/clock.h"
#include "race/ghost.h"
#include "screens/sound.h"

#define WAIT 150 /* frames between the finish and the window */
#define LEFT 2
#define TOP 2
#define WIDTH 27
#define HEIGHT 20

static uint32_t age, best_before;
static int chosen, drawn;

void results_init(void) {
    age = 0;
    chosen = 0;
    drawn = -1;
    best_before = ghost_milliseconds(&game.choice);
}

static void number(char *at, int value) {
    at[0] = (char)('0' + value);
    at[1] = 0;
}

static void laps_page(const driver_status *me) {
    int best = 0, laps = (int)game.laps < 5 ? (int)game.laps : 5;
    for (int i = 1; i < laps; i++) {
        if (time_value(me->lap_times[i]) < time_value(me->lap_times[best])) {
            best = i;
        }
    }
    for (int i = 0; i < laps; i++) {
        char text[16] = "LAP 0  ";
        text[4] = (char)('1' + i);
        time_text(me->lap_times[i], text + 7);
        window_small(LEFT + 2, TOP + 8 + i, text, i == best ? GOLD : WHITE);
        if (i == best && laps > 1) {
            window_small(LEFT + 17, TOP + 8 + i, "BEST LAP", GOLD);
        }
    }
    char text[16];
    if (game.choice.mode == MODE_TIME_TRIAL) {
        if (!best_before || me->total_milliseconds < best_before) {
            window_small(LEFT + 2, TOP + 14, best_before ? "A NEW RECORD!" : "THE FIRST RECORD", GREEN);
        } else {
            window_small(LEFT + 2, TOP + 14, "RECORD", DIM);
            time_text(clock_split(best_before), text);
            window_small(LEFT + 9, TOP + 14, text, DIM);
        }
    }
}

static void places_page(void) {
    const race_status *status = &seen.status;
    for (int place = 0; place < (int)game.choice.drivers; place++) {
        int who = status->driver_by_place[place];
        if (who < 0 || who >= DRIVERS_MAX) {
            continue;
        }
        const driver_status *one = &status->drivers[who];
        char text[20] = "0  KART 0  -:--.--";
        text[0] = (char)('1' + place);
        if (who == (int)game.shown) {
            text[3] = 'Y', text[4] = 'O', text[5] = 'U', text[6] = text[7] = text[8] = ' ';
        } else {
            number(text + 8, who);
            text[9] = ' ';
        }
        if (one->flags & STATUS_FLAG_FINISHED) {
            time_text(one->total_time, text + 11);
        }
        /* eight lines touch each other: alternating colours separate them */
        int rows = game.choice.drivers > 4 ? 1 : 2;
        int colour = who == (int)game.shown ? GOLD : rows == 1 && place % 2 ? CYAN : WHITE;
        window_small(LEFT + 4, TOP + 7 + rows * place, text, colour);
    }
}

static void draw(void) {
    const driver_status *me = &seen.status.drivers[game.shown];
    char text[12];
    int vs = game.choice.mode == MODE_VS;
    if (drawn < 0) {
        window_open(LEFT, TOP, WIDTH, HEIGHT);
        window_small(LEFT + 2, TOP + 1, "RESULT", CYAN);
        time_text(me->total_time, text);
        window_medium(LEFT + (vs ? 11 : 2), TOP + 3, text, GREEN);
        if (vs) {
            static const char *const ends[] = {"ST", "ND", "RD", "TH"};
            int place = me->place_and_driver & 15;
            char where[4] = {(char)('1' + place), ends[place < 3 ? place : 3][0], ends[place < 3 ? place : 3][1], 0};
            window_medium(LEFT + 2, TOP + 3, where, place == 0 ? GOLD : WHITE);
        } else {
            laps_page(me);
        }
    }
    if (vs) {
        places_page();
    }
    drawn = chosen;
    window_small(LEFT + 3, TOP + 17, chosen == 0 ? FONT_RIGHT : " ", GOLD);
    window_medium(LEFT + 5, TOP + 16, "AGAIN", chosen == 0 ? GOLD : DIM);
    window_small(LEFT + 16, TOP + 17, chosen == 1 ? FONT_RIGHT : " ", GOLD);
    window_medium(LEFT + 18, TOP + 16, "MENU", chosen == 1 ? GOLD : DIM);
}

void results_show(void) {
    if (age >= WAIT && (drawn != chosen || age % 32 == 0)) {
        draw(); /* again from time to time, as other drivers finish */
    }
}

enum next results_move(void) {
    if (++age <= WAIT) {
        return NEXT_STAY;
    }
    if (pad.pressed & (KEY_LEFT | KEY_RIGHT)) {
        chosen = 1 - chosen;
        sound_play(SOUND_MOVE);
    }
    if (pad.pressed & (KEY_A | KEY_START)) {
        return chosen == 0 ? NEXT_RACE : NEXT_MENU;
    }
    return NEXT_STAY;
}
