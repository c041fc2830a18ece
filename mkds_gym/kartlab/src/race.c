/* The race: set-up from the boot block, clock, checkpoints, laps, respawns. */
#include "course.h"
#include "draw.h"
#include "game.h"
#include "kart.h"
#include <string.h>

#define COUNTDOWN_FRAMES 240        /* 3, 2, 1: a fade-in second, then one each */
#define WRONG_WAY_FRAMES 30
#define LOOK_AHEAD 3                /* lines that may be crossed out of turn, see passed_forward */

static uint32_t wrong_way_frames;

/* A frame has 16.715 ms. */
static uint32_t milliseconds_of(uint32_t frames) {
    return frames / 1000 * 16715 + frames % 1000 * 16715 / 1000;
}

static race_time time_of(uint32_t milliseconds) {
    uint32_t minutes = milliseconds / 60000;
    if (minutes > 99) {
        return (race_time){999, 99, 59};
    }
    return (race_time){(uint16_t)(milliseconds % 1000), (uint8_t)minutes,
                       (uint8_t)(milliseconds / 1000 % 60)};
}

race_time race_time_of(uint32_t frames) { return time_of(milliseconds_of(frames)); }

/* ------------------------------------------------------------------------------ checkpoints */

/* How far in front (positive) of a checkpoint's line a point is, not to scale. */
static int64_t in_front(uint32_t point, vec3 p) {
    const nkm_checkpoint *c = &track.points[point];
    /* Left to right is l; forward is up x l turned: for l = (-1, 0) (right is -x) it is +z. */
    int64_t lx = c->x2 - c->x1, lz = c->z2 - c->z1;
    return lz * (p.x - c->x1) - lx * (p.z - c->z1);
}

/* 1 when the way from a to b crosses the line between its ends in driving direction, -1 the
 * other way. */
static int crossing(uint32_t point, vec3 a, vec3 b) {
    int64_t from = in_front(point, a), to = in_front(point, b);
    if ((from < 0) == (to < 0)) {
        return 0;
    }
    const nkm_checkpoint *c = &track.points[point];
    int64_t mx = b.x - a.x, mz = b.z - a.z;
    int64_t left = mx * (c->z1 - a.z) - mz * (c->x1 - a.x);
    int64_t right = mx * (c->z2 - a.z) - mz * (c->x2 - a.x);
    if ((left < 0) == (right < 0)) {
        return 0;
    }
    return to >= 0 ? 1 : -1;
}

static void end_lap(driver_status *me) {
    race_status *status = game.status;
    uint32_t total = milliseconds_of(status->frame);
    uint32_t lap = milliseconds_of(status->frame) - milliseconds_of(status->frame - me->lap_frames);
    if (me->highest_lap <= 5) {
        me->lap_times[me->highest_lap - 1] = time_of(lap);
    }
    game.last_lap_frames = me->lap_frames;
    game.since_lap = 0;
    me->lap_frames = 0;
    if (me->highest_lap == game.laps) {
        me->flags |= STATUS_FINISHED;
        me->state = 2;
        me->total_time = time_of(total);
        me->total_milliseconds = total;
        status->clock_running = 0;
    }
}

static void enter(driver_status *me, uint32_t point) {
    me->checkpoint = (uint16_t)point;
    me->section = track.section_of[point];
}

/* Over a line in driving direction. */
static void crossed_forward(driver_status *me, uint32_t point) {
    int16_t key = track.points[point].key;
    enter(me, point);
    if (key < 0) {
        return;
    }
    me->key = key;
    if (key == me->last_key + 1) {
        me->last_key = key;
    } else if (key == 0 && me->last_key == track.last_key) {
        /* All keys in order: a lap counts.  A line crossed back and forth does not get here
         * with a new lap, as going back takes the lap away again. */
        me->last_key = 0;
        if (me->lap + 1 > me->highest_lap) {
            if (me->lap >= 1) {
                end_lap(me);
            }
            if (me->flags & STATUS_FINISHED) {
                return; /* the lap stays at the number of laps */
            }
            me->highest_lap = (uint16_t)(me->lap + 1);
        }
        me->lap++;
    }
}

/* Back over a line. */
static void crossed_back(driver_status *me, uint32_t point) {
    int16_t key = track.points[point].key;
    uint16_t previous[3];
    if (!track_previous(point, previous)) {
        return;
    }
    enter(me, previous[0]);
    if (key < 0) {
        return;
    }
    me->key = key == 0 ? track.last_key : (int16_t)(key - 1);
    if (key == me->last_key) {
        if (key == 0) {
            me->lap--;
        }
        me->last_key = me->key;
    }
}

/* The next line counts, and up to two behind it when it was missed (driven round its end),
 * but never beyond a key checkpoint: those must all be crossed. */
static int passed_forward(driver_status *me, uint32_t point, vec3 a, vec3 b, int depth) {
    uint16_t next[3];
    uint32_t count = track_next(point, next);
    for (uint32_t i = 0; i < count; i++) {
        if (crossing(next[i], a, b) > 0) {
            crossed_forward(me, next[i]);
            return 1;
        }
    }
    for (uint32_t i = 0; i < count && depth > 1; i++) {
        if (track.points[next[i]].key < 0 && passed_forward(me, next[i], a, b, depth - 1)) {
            return 1;
        }
    }
    return 0;
}

static int passed_back(driver_status *me, uint32_t point, vec3 a, vec3 b, int depth) {
    if (crossing(point, a, b) < 0) {
        crossed_back(me, point);
        return 1;
    }
    uint16_t previous[3];
    uint32_t count = track_previous(point, previous);
    for (uint32_t i = 0; i < count && depth > 1; i++) {
        if (track.points[point].key < 0 && passed_back(me, previous[i], a, b, depth - 1)) {
            return 1;
        }
    }
    return 0;
}

static void update_progress(driver_status *me, const driver *kart) {
    uint32_t point = me->checkpoint;
    uint16_t next[3];
    fx32 share = 0;
    if (track.length_of[point] > 0 && track_next(point, next)) {
        vec3 from = track_middle(point), way = v_sub(track_middle(next[0]), from);
        vec3 p = v_sub(kart->position, from);
        p.y = 0;
        way = v_unit(way, v_make(0, 0, 0));
        share = fx_clamp(fx_div(v_dot(p, way), track.length_of[point]), 0, FX_ONE);
    }
    me->checkpoint_progress = share;
    if (track.length > 0) {
        fx32 at = track.from_start[point] + fx_mul(track.length_of[point], share);
        me->lap_progress = fx_clamp(fx_div(at, track.length), 0, FX_ONE);
    }
    if (me->flags & STATUS_FINISHED) {
        me->race_progress = FX_ONE;
    } else {
        fx32 laps = (me->lap - 1) * FX_ONE + me->lap_progress;
        me->race_progress = fx_clamp(laps / (int32_t)game.laps, 0, FX_ONE);
    }
}

static void update_wrong_way(driver_status *me, const driver *kart) {
    uint16_t next[3];
    if (!track_next(me->checkpoint, next)) {
        return;
    }
    vec3 way = v_sub(track_middle(next[0]), track_middle(me->checkpoint));
    way = v_unit(way, kart->forward);
    fx32 along = v_dot(kart->velocity, way);
    if (along > 0 || (kart->flags & DRIVER_RESPAWNING)) {
        wrong_way_frames = 0;
        me->flags &= (uint16_t)~STATUS_WRONG_WAY;
    } else if (along < -FX(0.3) && v_dot(kart->forward, way) < 0) {
        if (++wrong_way_frames >= WRONG_WAY_FRAMES) {
            me->flags |= STATUS_WRONG_WAY;
        }
    }
}

/* --------------------------------------------------------------------------------- respawns */

/* fx32 degrees about y to an angle: 65536 / (360 * 4096) = 2 / 45. */
static angle16 heading_of(vec3 rotation) { return (angle16)((int64_t)rotation.y * 2 / 45); }

static void respawn(driver *kart, driver_status *me) {
    const map_list *list = &game.map->lists[MAP_KTPJ];
    kart->flags &= ~(uint32_t)DRIVER_RESPAWNING;
    if (kart->respawn_id < list->count) {
        const nkm_respawn *at = (const nkm_respawn *)list->entries + kart->respawn_id;
        kart_place(kart, at->position, heading_of(at->rotation));
    } else {
        vec3 middle = track_middle(me->checkpoint);
        middle.y = kart->position.y;
        kart_place(kart, middle, kart->heading);
    }
    /* The point may lie before the line that was crossed last: that one is then still to come. */
    for (int i = 0; i < LOOK_AHEAD && in_front(me->checkpoint, kart->position) < 0; i++) {
        crossed_back(me, me->checkpoint);
    }
}

/* ------------------------------------------------------------------------------------ set-up */

int race_start(const race_choice *choice) {
    game.choice = *choice;
    game.laps = choice->laps;
    game.engine_class = choice->engine_class;
    game.drivers = heap_allocate(8 * sizeof(driver));
    game.status = heap_allocate(sizeof(race_status));
    game.state = heap_allocate(sizeof(race_state));
    game.cam = heap_allocate(sizeof(camera));
    scene_state *scene = heap_allocate(sizeof(scene_state));
    object_entry *objects = heap_allocate(255 * sizeof(object_entry));
    game.config = memset((void *)RACE_CONFIG_ADDRESS, 0, sizeof(race_config));

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

    race_setup *setup = &game.config->current;
    setup->course = game.course_id;
    setup->mode = choice->mode;
    setup->engine_class = game.engine_class;
    setup->laps = (int8_t)laps_chosen;
    setup->rng_seed = choice->seed;
    game.config->next = game.config->current;
    game.config->driver_count = 1;

    driver *kart = &game.drivers[0];
    const map_list *starts = &game.map->lists[MAP_KTPS];
    if (starts->count) {
        const nkm_start *start = starts->entries;
        kart_place(kart, start->position, heading_of(start->rotation));
    }
    kart->place = 0;

    driver_status *me = &game.status->drivers[0];
    me->state = 1;
    me->flags = STATUS_PLAYER;
    me->last_key = me->key = track.last_key;
    uint16_t previous[3];
    enter(me, track_previous(track.start, previous) ? previous[0] : track.start);
    for (int i = 1; i < 8; i++) {
        game.status->driver_by_place[i] = -1;
    }
    kart->respawn_id = track.points[me->checkpoint].respawn;
    update_progress(me, kart);

    objects[0].position = &kart->position;
    objects[0].radius = kart->sphere_radius;
    objects[0].flags = OBJECT_DRIVER;
    objects[0].object = kart;
    OBJECT_TABLE.count = 1;
    OBJECT_TABLE.entries = objects;

    if (choice->skip_countdown) {
        game.status->clock_running = 1;
        game.state->state = 1;
    } else {
        game.status->not_controllable = COUNTDOWN_FRAMES;
    }
    game.state->frame = 1; /* one ahead of the other counter, always */
    RACE_STATUS_POINTER = game.status;
    MAP_DATA_POINTER = game.map;
    RACE_CONFIG_POINTER = game.config;
    SCENE_STATE_POINTER = scene;
    RACE_STATE_POINTER = game.state;
    CAMERA_POINTER = game.cam;
    DRIVERS_POINTER = game.drivers;
    DRIVER_COUNT = 1;
    return 1;
}

/* From here on the structures are true: whoever reads them may take them for a race. */
void race_publish(void) {
    if (game.map) {
        SCENE_STATE_POINTER->state = 2;
    }
}

/* ------------------------------------------------------------------------------- every frame */

void race_frame(void) {
    if (!game.map) {
        return;
    }
    race_status *status = game.status;
    driver *kart = &game.drivers[0];
    driver_status *me = &status->drivers[0];

    game.state->frame++;
    game.state->second_counter = (int32_t)game.state->frame - 1;
    game.state->modulo_8 = game.state->second_counter & 7;
    game.since_lap++;

    int driven = status->clock_running && !(me->flags & STATUS_FINISHED);
    if (status->not_controllable) {
        if (--status->not_controllable == 0) {
            status->clock_running = 1;
            game.state->state = 1;
        }
    } else if (status->clock_running) {
        status->frame++;
        me->lap_frames++; /* the first lap counts from GO, so that laps add up to the total */
    }
    uint32_t keys = driven ? game.keys : 0; /* before GO the kart waits, then it coasts */

    if (kart->flags & DRIVER_RESPAWNING) {
        if (--kart->respawn_counter == 0) {
            respawn(kart, me);
            camera_snap();
        }
    }
    kart_frame(kart, keys);

    if (!(me->flags & STATUS_FINISHED) && !(kart->flags & DRIVER_RESPAWNING)) {
        vec3 a = kart->last_position, b = kart->position;
        if (!passed_forward(me, me->checkpoint, a, b, LOOK_AHEAD)) {
            passed_back(me, me->checkpoint, a, b, LOOK_AHEAD);
        }
        kart->respawn_id = track.points[me->checkpoint].respawn;
    }
    update_progress(me, kart);
    update_wrong_way(me, kart);
    status->lap_time = race_time_of(me->lap_frames);
    if (!(me->flags & STATUS_FINISHED)) {
        me->total_milliseconds = milliseconds_of(status->frame);
        me->total_time = time_of(me->total_milliseconds);
    }
}
