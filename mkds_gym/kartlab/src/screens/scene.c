#include "screens/scene.h"

#include "hud/badge.h"
#include "race/camera.h"
#include "course/course.h"
#include "draw/draw.h"
#include "race/ghost.h"
#include "kart/kart.h"
#include "screens/menu.h"
#include "hud/overlay.h"
#include "screens/pause.h"
#include "screens/results.h"
#include "hud/screen.h"
#include "draw/sky.h"
#include "screens/sound.h"
#include <string.h>

#define REPEAT_FIRST 20 /* frames until a held key counts again, */
#define REPEAT_NEXT 6   /* and between that and the next time */
#define BACKDROP_SEED 7

enum scene { SCENE_TITLE, SCENE_MENU, SCENE_RACE };

struct pad pad;
static enum scene scene;
static int hosted;     /* the race is the boot block's: it stays on, come what may */
static int paused;
static int moved;      /* a race moved in this turn, and its picture is due */
static uint32_t heap_free; /* the heap below this outlives races */
static int screens_ready;
static uint32_t held_for;
static uint16_t missed; /* keys that went down while a course was loaded */

static void read_pad(void) {
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

/* START is the pause's, so the race does not see it: one that was paused is like one that was not. */
static void race_keys(uint16_t held) {
    held &= (uint16_t)~KEY_START;
    game.pressed = held & (uint16_t)~game.keys;
    game.keys = held;
    INPUT_UNITS[0].held = game.keys;
    INPUT_UNITS[0].pressed = game.pressed;
}

/* ---- loading ---- */

/* As after a start of the machine, whatever was on before: a race depends on nothing but its choice. */
static int load(const race_choice *choice) {
    moved = 0;
    heap_release(heap_free);
    memset((void *)FIXED_START, 0, FIXED_END - FIXED_START);
    race_choice kept = *choice; /* it may be game.choice itself */
    memset(&game, 0, sizeof game);
    memset(karts, 0, sizeof karts);
    if (!race_start(&kept)) {
        return 0;
    }
    camera_reset();
    return 1;
}

static void open_screens(void) {
    draw_init(game.klm, game.klm_size);
    if (!screens_ready) {
        screens_ready = 1;
        screen_init();
        overlay_letters();
        badge_pictures();
    }
    overlay_init();
    badge_init();
}

static race_choice default_choice(void) {
    return (race_choice){
        .course = DEFAULT_COURSE, .mode = MODE_TIME_TRIAL, .engine_class = 1, .drivers = 1, .strength = 1, .seed = 1,
    };
}

static void enter_race(void) {
    open_screens();
    hud_init();
    results_init();
    sound_race();
    scene = SCENE_RACE;
    paused = 0;
}

void scene_race(const race_choice *choice) {
    ghost_enable(1);
    if (load(choice)) {
        enter_race();
    } else {
        scene_title(); /* only a cartridge whose list names a course that it has not gets here */
    }
}

void scene_backdrop(const race_choice *choice) {
    sound_still();
    race_choice watched = *choice;
    watched.mode = MODE_TIME_TRIAL;
    watched.drivers = 1;
    watched.grid = watched.items = 0;
    watched.laps = 9;
    watched.seed = BACKDROP_SEED;
    watched.skip_countdown = 1;
    ghost_enable(0);
    if (!load(&watched)) {
        watched = default_choice();
        watched.skip_countdown = 1;
        load(&watched);
    }
    open_screens();
}

void scene_title(void) {
    scene = SCENE_TITLE;
    title_open();
}

void scene_menu(void) {
    scene = SCENE_MENU;
    menu_open();
}

void scene_start(void) {
    race_choice choice;
    hosted = boot_read(&choice);
    if (choice.course_data) {
        heap_end_at(COURSE_DATA_START);
    }
    sound_init();
    card_init();
    menu_init();
    heap_free = heap_mark();
    if (!hosted) {
        scene_title();
        return;
    }
    if (!load(&choice)) {
        boot_no_course();
        choice.course = DEFAULT_COURSE; /* run with the default, and say why in the answer */
        choice.course_data = 0;
        load(&choice);
    }
    enter_race();
}

/* ---- the race behind title and menu ---- */

/* Keys that follow the middle of the road. */
static uint16_t backdrop_keys(void) {
    const driver *kart = &game.drivers[0];
    uint32_t point = game.status->drivers[0].checkpoint;
    for (int ahead = 0; ahead < 2; ahead++) {
        uint16_t next[3];
        if (track_next(point, next)) {
            point = next[0];
        }
    }
    vec3 way = v_sub(track_middle(point), kart->position);
    int16_t off = (int16_t)(fx_atan2(way.x, way.z) - kart->heading);
    return (uint16_t)(KEY_A | (off > 0x300 ? KEY_LEFT : off < -0x300 ? KEY_RIGHT : 0));
}

/* ---- a turn of the loop ---- */

void scene_show(void) {
    if (scene == SCENE_TITLE) {
        sky_frame();
        title_show();
    } else if (scene == SCENE_MENU) {
        sky_frame();
        menu_show();
    } else if (paused) {
        pause_show();
    } else {
        hud_frame();
        results_show();
    }
}

void scene_move(void) {
    read_pad();
    moved = 0;
    if (scene == SCENE_RACE) {
        if (!race_published()) {
            /* Loading ends anywhere in a picture.  A host that looks once per picture is to find every
             * race with its clock at 0, so the race is shown first and driven from the next one on. */
            race_publish();
            moved = 1;
            return;
        }
        int over = game.status->drivers[0].flags & STATUS_FINISHED;
        if (paused) {
            paused = pause_move();
            return;
        }
        if (pad.pressed & KEY_START && !over) {
            paused = 1;
            pause_open(hosted);
            sound_play(SOUND_PAUSE);
            return;
        }
        race_keys(pad.held);
        race_frame();
        moved = 1;
        if (over && !hosted) {
            results_move();
        }
        return;
    }
    race_keys(backdrop_keys());
    race_frame();
    moved = 1;
    if (scene == SCENE_TITLE) {
        title_move();
    } else {
        menu_move();
    }
}

void scene_draw(void) {
    if (scene == SCENE_RACE && moved) {
        sound_frame();
    } else {
        sound_still();
    }
    if (moved) { /* else the picture hardware shows the last one again */
        camera_update();
        draw_frame();
    }
}
