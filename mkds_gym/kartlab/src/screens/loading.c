#include "screens/loading.h"

#include "draw/draw.h"
#include "hud/badge.h"
#include "hud/overlay.h"
#include "hud/screen.h"
#include "kart/kart.h"
#include "platform/heap.h"
#include "platform/memory_map.h"
#include "race/camera.h"
#include "race/ghost.h"
#include "race/race.h"
#include "screens/sound.h"
#include <string.h>

#define BACKDROP_SEED 7

static uint32_t heap_free;
static int screens_ready;

void loading_init(void) { heap_free = heap_mark(); }

/* Clears everything of an earlier race: a race depends on its choice alone. */
int load_race(const race_choice *choice) {
    heap_release(heap_free);
    memset((void *)FIXED_START, 0, FIXED_END - FIXED_START);
    race_choice copy = *choice; /* `choice` may be &game.choice */
    memset(&game, 0, sizeof game);
    memset(karts, 0, sizeof karts);
    if (!race_start(&copy)) {
        return 0;
    }
    camera_reset();
    return 1;
}

void open_screens(void) {
    draw_init(game.klm);
    if (!screens_ready) {
        screens_ready = 1;
        screen_init();
        overlay_letters();
        badge_pictures();
    }
    overlay_init();
    badge_init();
}

void load_backdrop(const race_choice *choice) {
    sound_still();
    race_choice watched = *choice;
    watched.mode = MODE_TIME_TRIAL;
    watched.drivers = 1;
    watched.grid = watched.items = 0;
    watched.laps = 9;
    watched.seed = BACKDROP_SEED;
    watched.skip_countdown = 1;
    ghost_enable(0);
    if (!load_race(&watched)) {
        watched = race_choice_default();
        watched.skip_countdown = 1;
        load_race(&watched);
    }
    open_screens();
}
