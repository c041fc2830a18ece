#include "screens/scene.h"

#include "course/track.h"
#include "draw/draw.h"
#include "draw/draw_karts.h"
#include "draw/sky.h"
#include "hud/hud.h"
#include "hud/overlay.h"
#include "platform/fx.h"
#include "platform/memory_map.h"
#include "platform/pad.h"
#include "race/alone.h"
#include "race/camera.h"
#include "race/ghost.h"
#include "race/race.h"
#include "game.h"
#include "screens/loading.h"
#include "screens/menu.h"
#include "screens/pause.h"
#include "screens/results.h"
#include "screens/sound.h"

enum scene { SCENE_TITLE, SCENE_MENU, SCENE_RACE };

static enum scene scene;
static int hosted;     /* the race is the host's: it has no menu to return to */
static int paused;
static int early;      /* in this turn, the race moved at the top of the picture */
static int pad_is_read; /* in this turn */
static int over;       /* the player had finished before this turn */
static int moved;      /* a race moved in this turn and must be drawn */
static int unseen;     /* the host wants no picture */

/* ---- from scene to scene ---- */

static void enter_title(void) {
    scene = SCENE_TITLE;
    title_open();
}

static void enter_menu(void) {
    scene = SCENE_MENU;
    menu_open();
}

static void enter_race(void) {
    open_screens();
    hud_init();
    results_init();
    sound_race();
    scene = SCENE_RACE;
    paused = 0;
}

/* Does what a screen asked for. `choice` is the race for NEXT_RACE. */
static void go_on(enum next next, const race_choice *choice) {
    switch (next) {
    case NEXT_STAY: return;
    case NEXT_RESUME: paused = 0; return;
    case NEXT_TITLE: enter_title(); break;
    case NEXT_MENU: enter_menu(); break;
    case NEXT_RELOAD:
        pad_look_away();
        menu_open();
        pad_look_back();
        break;
    case NEXT_RACE:
        ghost_enable(1);
        if (load_race(choice)) {
            enter_race();
        } else {
            enter_title(); /* only a cartridge whose list names a missing course gets here */
        }
        break;
    }
    moved = 0;
}

int scene_start(const race_choice *host) {
    menu_init();
    loading_init();
    hosted = host != 0;
    if (!hosted) {
        enter_title();
        return 1;
    }
    int loaded = load_race(host);
    if (!loaded) {
        race_choice other = *host;
        other.course = DEFAULT_COURSE;
        other.course_data = 0;
        load_race(&other);
    }
    enter_race();
    return loaded;
}

/* ---- keys ---- */

/* The race never sees START: a pause leaves no trace. */
static void race_keys(uint16_t held) {
    held &= (uint16_t)~KEY_START;
    game.pressed = held & (uint16_t)~game.keys;
    game.keys = held;
    INPUT_UNITS[game.first].held = game.keys;
    INPUT_UNITS[game.first].pressed = game.pressed;
}

/* Keys for the race behind title and menu: they follow the middle of the road. */
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

/* Hosted drivers: looks at the driver that the host wants to see. */
static void choose_view(void) {
    uint32_t wanted = game.choice.alone ? alone_shown() : game.choice.hosted ? HOST_BLOCK->shown : 0;
    int was_unseen = unseen;
    unseen = wanted == SHOWN_NOBODY;
    if (unseen) {
        return;
    }
    if (game.choice.alone) {
        alone_select(wanted);
        camera_look();
        return;
    }
    wanted = wanted < race.count ? wanted : 0;
    if (was_unseen || wanted != game.shown) {
        game.shown = wanted;
        camera_reset();
    }
}

/* Notes what both screens show besides the 3D picture, before the race moves on. */
static void look(void) {
    choose_view();
    if (unseen || paused) {
        return;
    }
    if (scene != SCENE_RACE) {
        sky_look();
        return;
    }
    if (!game.choice.alone || alone_moves(game.first)) {
        overlay_count();
    }
    hud_look();
}

void scene_show(void) {
    if (game.choice.alone && !alone_started()) {
        alone_begin();
    }
    if (!early) {
        look();
    }
    if (unseen) {
        return;
    }
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

static void move_alone(void) {
    race_keys(alone_keys(game.first));
    race_frame();
}

static void move_race(void) {
    if (!race_published()) {
        /* Loading ends anywhere in a picture. The race is published in one picture and driven from
         * the next: a host that looks once per picture finds every race with its clock at 0. */
        race_publish();
        moved = 1;
        return;
    }
    if (game.choice.alone) {
        if (alone_moves(game.first)) {
            move_alone();
        }
        moved = 1;
        return;
    }
    if (paused) {
        enum next next = pause_move();
        paused = next == NEXT_STAY;
        go_on(next, &game.choice);
        return;
    }
    if (!early) { /* START is pressed */
        paused = 1;
        pause_open(hosted);
        sound_play(SOUND_PAUSE);
        return;
    }
    moved = 1;
    if (over && !hosted) {
        go_on(results_move(), &game.choice);
    }
}

int scene_moves_early(void) {
    return scene == SCENE_RACE && !paused && !game.choice.alone && race_published();
}

void scene_move_early(void) {
    pad_read();
    pad_is_read = 1;
    over = game.status->drivers[0].flags & STATUS_FLAG_FINISHED;
    if (pad.pressed & KEY_START && !over) {
        return; /* the pause begins in VBlank */
    }
    look();
    race_keys(pad.held);
    race_frame();
    early = 1;
}

void scene_move(void) {
    if (!pad_is_read) {
        pad_read();
    }
    pad_is_read = 0;
    moved = 0;
    if (scene == SCENE_RACE) {
        move_race();
        early = 0;
        return;
    }
    race_keys(backdrop_keys());
    race_frame();
    moved = 1;
    if (scene == SCENE_TITLE) {
        go_on(title_move(), 0);
    } else {
        enum next next = menu_move();
        race_choice choice = menu_choice();
        go_on(next, &choice);
    }
}

static void move_camera(void) {
    camera_update();
    poses_update();
}

/* All drivers in the frame that publishes the race, then the driver in the picture: the others have
 * had their turn (scene_move_unseen). */
static void draw_alone(void) {
    uint32_t shown = game.first;
    for (uint32_t i = 0; i < game.choice.hosted; i++) {
        if (!alone_started() || i == shown) {
            alone_select(i);
            if (alone_moves(i)) {
                move_camera();
            }
            alone_save(i);
        }
    }
    alone_select(shown);
    camera_look();
    alone_end();
    if (unseen) {
        sound_still();
    } else {
        sound_frame();
        draw_frame();
    }
}

int scene_move_unseen(void) {
    if (!alone_started()) {
        return 1;
    }
    alone_begin();
    uint32_t view = game.first, shown = alone_shown();
    for (uint32_t i = 0; i < game.choice.hosted; i++) {
        if (i == shown) {
            continue;
        }
        if (alone_moves(i)) {
            alone_select(i);
            overlay_count();
            move_alone();
            move_camera();
        }
        alone_save(i);
    }
    alone_select(view);
    if (shown == SHOWN_NOBODY) {
        sound_still();
        alone_end();
    }
    return shown != SHOWN_NOBODY;
}

void scene_draw(void) {
    if (game.choice.alone) {
        draw_alone();
        return;
    }
    if (scene == SCENE_RACE && moved) {
        sound_frame();
    } else {
        sound_still();
    }
    if (moved && !unseen) { /* else the picture hardware shows the last picture again */
        move_camera();
        draw_frame();
    }
}
