#include "race/race.h"

#include "course/course.h"
#include "kart/boost.h"
#include "kart/bump.h"
#include "kart/drive.h"
#include "kart/physics.h"
#include "platform/heap.h"
#include "platform/memory_map.h"
#include "platform/pad.h"
#include "race/alone.h"
#include "race/camera.h"
#include "race/checkpoints.h"
#include "race/clock.h"
#include "race/cpu.h"
#include "race/ghost.h"
#include "race/items.h"
#include "race/objects.h"
#include "race/racer.h"
#include <string.h>

#define COUNTDOWN_FRAMES 240        /* one second of fade-in, then 3, 2, 1 */
#define GRID_ABOVE FX(20)           /* karts are let down to the road, which may slope */

/* ---- set-up ---- */

/* The map gives the pole; the other places lie behind the pole. A single driver starts in the
 * middle. */
static void place_on_grid(driver *kart, uint32_t place) {
    const map_list *starts = &game.map->lists[MAP_KTPS];
    if (!starts->count) {
        return;
    }
    const nkm_start *start = starts->entries;
    angle16 heading = fx_degrees(start->rotation.y);
    vec3 at = start->position;
    if (game.choice.drivers > 1) {
        vec3 forward = v_make(fx_sin(heading), 0, fx_cos(heading));
        vec3 left = v_make(forward.z, 0, -forward.x);
        fx32 back = (fx32)(place / 2) * GRID_ROW + (place & 1 ? GRID_STAGGER : 0);
        at = v_mad(v_mad(at, forward, -back), left, place & 1 ? -GRID_SIDE : GRID_SIDE);
        at.y += GRID_ABOVE;
    }
    kart_place(kart, at, heading);
}

static void set_up_drivers(const race_choice *choice) {
    race_config *setup = game.config;
    int ghost = ghost_wanted(choice);
    uint32_t players = choice->hosted && !choice->alone ? choice->hosted : 1;
    race.count = ghost ? 2 : choice->drivers;
    for (int i = 0; i < DRIVERS_MAX; i++) {
        game.status->driver_by_place[i] = -1;
    }
    for (uint32_t i = 0; i < race.count; i++) {
        driver *kart = &game.drivers[i];
        uint32_t number = game.first + i;
        kart->driver_id = (uint16_t)number;
        uint32_t type = i < players ? CONFIG_TYPE_PLAYER : ghost ? CONFIG_TYPE_GHOST : CONFIG_TYPE_CPU;
        kart->kind = UNKNOWN_KIND_BITS | (type == CONFIG_TYPE_PLAYER ? KIND_PLAYER : type == CONFIG_TYPE_GHOST ? KIND_GHOST : 0);
        kart->state_bits = UNKNOWN_STATE_BITS;
        kart->flags2 = UNKNOWN_FLAGS2_BITS;
        setup->drivers[number] = (config_driver){.character = number, .kart = number, .type = type};
        /* Players stand one behind the other. The CPU drivers take the places before and after the
         * players', in the order of their ids. */
        uint32_t place = i < players ? choice->grid + i : i < players + choice->grid ? i - players : i;
        place_on_grid(kart, ghost ? 0 : place);
        checkpoints_start(i);
        game.status->driver_by_place[ghost ? i : place] = (int8_t)i;
    }
    if (ghost) {
        setup->drivers[1].character = setup->drivers[1].kart = 0;
    }
    ranking_update();
}

/* Sets up drivers and clock. */
static void begin(const race_choice *choice) {
    set_up_drivers(choice);
    items_init();
    if (choice->skip_countdown) {
        game.status->clock_running = 1;
        game.state->state = 1;
    } else {
        game.status->not_controllable = COUNTDOWN_FRAMES;
    }
    game.state->frame = 1; /* always one ahead of second_counter */
}

int race_start(const race_choice *choice) {
    game.choice = *choice;
    game.laps = choice->laps;
    game.engine_class = choice->engine_class;
    game.drivers = heap_allocate(DRIVERS_MAX * sizeof(driver));
    game.status = heap_allocate(sizeof(race_status));
    game.state = heap_allocate(sizeof(race_state));
    game.cam = heap_allocate(sizeof(camera));
    scene_state *scene = heap_allocate(sizeof(scene_state));
    game.config = memset((void *)RACE_CONFIG_ADDRESS, 0, sizeof(race_config));
    game.last_lap_frames = game.since_lap = 0;
    memset(karts, 0, DRIVERS_MAX * sizeof(struct kart));
    memset(racers, 0, sizeof racers);
    memset(&race, 0, sizeof race);

    if (!course_load(choice)) {
        return 0;
    }
    uint32_t laps_chosen = game.laps;
    if (!game.laps) {
        game.laps = game.map->stage ? game.map->stage->laps : 3;
    }
    if (game.laps < 1 || game.laps > 9) {
        game.laps = 3;
    }

    race_config *setup = game.config;
    setup->course_id = game.course_id;
    setup->mode = choice->mode;
    setup->engine_class = game.engine_class;
    setup->mirror = (int8_t)(choice->mirror != 0);
    setup->lap_override = (int8_t)(laps_chosen ? (int32_t)laps_chosen : -1);
    setup->rng_seed = choice->seed;
    RACE_STATUS_POINTER = game.status;
    DRIVERS_POINTER = game.drivers;
    if (choice->alone) {
        alone_init();
    }
    uint32_t races = choice->alone ? choice->hosted : 1;
    for (uint32_t i = races; i-- > 0;) { /* the first one last: the code after this is about it */
        if (choice->alone) {
            alone_select(i);
        }
        begin(choice);
    }
    DRIVER_COUNT = (int32_t)(race.count * races);
    setup->driver_count = (uint8_t)DRIVER_COUNT;
    memcpy(game.config->next, game.config, sizeof game.config->next);
    objects_init();
    cpu_init();

    MAP_DATA_POINTER = game.map;
    RACE_CONFIG_POINTER = game.config;
    SCENE_POINTER = scene;
    RACE_STATE_POINTER = game.state;
    CAMERA_POINTER = game.cam;
    ghost_race_started();
    return 1;
}

/* The structures are complete: from now on a host may read them as a race. */
void race_publish(void) {
    if (game.map) {
        SCENE_POINTER->state = 2;
    }
}

int race_published(void) { return !game.map || SCENE_POINTER->state == 2; }

/* ---- every frame ---- */

/* Returns a driver's keys. After the finish, a player's kart coasts and the others drive on. */
static uint32_t keys_of(uint32_t index) {
    uint32_t kind = game.drivers[index].kind;
    if (kind & KIND_GHOST) {
        return ghost_keys();
    }
    if (!(kind & KIND_PLAYER)) {
        return cpu_keys(index);
    }
    if (game.status->drivers[index].flags & STATUS_FLAG_FINISHED) {
        return 0;
    }
    return game.choice.hosted && !game.choice.alone ? HOST_BLOCK->keys[index] & ~(uint32_t)KEY_START : game.keys;
}

static void drive(uint32_t index, int waiting) {
    driver *kart = &game.drivers[index];
    struct kart *own = kart_of(kart);
    uint32_t keys = keys_of(index);
    own->pressed = (uint16_t)(keys & ~own->keys);
    own->keys = (uint16_t)keys;
    if (kart->flags & DRIVER_FLAG_RESPAWNING) {
        if (--kart->respawn_counter == 0) {
            checkpoints_respawn(index);
            if (index == game.shown) {
                camera_snap();
            }
        }
    }
    if (game.status->not_controllable) {
        kart_countdown(kart, keys);
    }
    kart_frame(kart, waiting ? 0 : keys);
}

void race_frame(void) {
    if (!game.map) {
        return;
    }
    race_status *status = game.status;
    game.state->frame++;
    game.state->second_counter = (int32_t)game.state->frame - 1;
    game.state->counter_modulo_8 = game.state->second_counter & 7;
    game.since_lap++;

    int waiting = status->not_controllable != 0;
    if (waiting) {
        if (--status->not_controllable == 0) {
            status->clock_running = 1;
            game.state->state = 1;
        }
    } else {
        race.frames++;
        if (status->clock_running) {
            status->frame++;
        }
        for (uint32_t i = 0; i < race.count; i++) {
            if (!(status->drivers[i].flags & STATUS_FLAG_FINISHED)) {
                status->drivers[i].lap_frames++; /* the first lap counts from GO: laps add up */
            }
        }
    }
    for (uint32_t i = 0; i < race.count; i++) {
        drive(i, waiting);
    }
    karts_touch();
    items_frame();
    uint32_t finished = race.finished;
    for (uint32_t i = 0; i < race.count; i++) {
        /* In the order of places: of two drivers that finish in one frame, the first stays
         * ahead. */
        checkpoints_frame((uint32_t)status->driver_by_place[i]);
    }
    ranking_update();
    objects_frame();
    status->lap_time = clock_time(status->drivers[0].lap_frames);
    ghost_frame();
    if (race.finished != finished && racer_of(0)->finish_order > finished) {
        ghost_race_finished();
    }
}
