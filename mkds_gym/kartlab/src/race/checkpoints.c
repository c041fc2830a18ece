#include "race/checkpoints.h"

#include "course/track.h"
#include "kart/drive.h"
#include "race/clock.h"
#include "race/racer.h"

#define WRONG_WAY_FRAMES 30
#define LOOK_AHEAD 3                /* number of next lines that a driver may cross, see passed_forward */

/* Returns how far a point lies in front of a checkpoint's line, not to scale. */
static int64_t in_front(uint32_t point, vec3 p) {
    const nkm_checkpoint *c = &track.points[point];
    /* The line runs from left to right, l. Forward is up x l: for l = (-1, 0) (right is -x), +z. */
    int64_t lx = c->x2 - c->x1, lz = c->z2 - c->z1;
    return lz * (p.x - c->x1) - lx * (p.z - c->z1);
}

/* Returns how far a point lies past a checkpoint's line, in world units. */
static fx32 distance_behind(uint32_t point, vec3 p) {
    fx32 length = track.line_length[point];
    return length > 0 ? fx_quotient(in_front(point, p), length) : 0;
}

/* Returns 1 when the way from a to b crosses the line between its ends in driving direction, -1 in
 * the other direction, else 0. */
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

static driver_status *status_of(uint32_t index) { return &game.status->drivers[index]; }

/* Whether all players have finished: then the race clock stands still. */
static int players_finished(void) {
    for (uint32_t i = 0; i < race.count; i++) {
        if ((game.drivers[i].kind & KIND_PLAYER) && !(status_of(i)->flags & STATUS_FLAG_FINISHED)) {
            return 0;
        }
    }
    return 1;
}

static void end_lap(uint32_t index) {
    driver_status *me = status_of(index);
    uint32_t total = clock_milliseconds(race.frames);
    uint32_t lap = total - clock_milliseconds(race.frames - me->lap_frames);
    if (me->highest_lap <= 5) {
        me->lap_times[me->highest_lap - 1] = clock_split(lap);
    }
    if (index == game.shown) {
        game.last_lap_frames = me->lap_frames;
        game.since_lap = 0;
    }
    me->lap_frames = 0;
    if (me->highest_lap == game.laps) {
        me->flags |= STATUS_FLAG_FINISHED;
        me->state = 2;
        me->total_time = clock_split(total);
        me->total_milliseconds = total;
        racer_of(index)->finish_order = (uint8_t)++race.finished;
        if (players_finished()) {
            game.status->clock_running = 0;
        }
    }
}

static void enter(driver_status *me, uint32_t point) {
    me->checkpoint = (uint16_t)point;
    me->section = track.section_of[point];
}

/* The driver crosses a line in driving direction. */
static void crossed_forward(uint32_t index, uint32_t point) {
    driver_status *me = status_of(index);
    int16_t key = track.points[point].key;
    enter(me, point);
    if (key < 0 || (me->flags & STATUS_FLAG_FINISHED)) {
        return; /* laps do not count after the finish */
    }
    me->key_checkpoint = key;
    if (key == me->last_key_checkpoint + 1) {
        me->last_key_checkpoint = key;
    } else if (key == 0 && me->last_key_checkpoint == track.last_key) {
        /* All keys came in order: a lap counts. Crossing the line back and forth does not give a
         * lap, as crossing it backwards takes the lap away. */
        me->last_key_checkpoint = 0;
        if (me->lap + 1 > me->highest_lap) {
            if (me->lap >= 1) {
                end_lap(index);
            }
            if (me->flags & STATUS_FLAG_FINISHED) {
                return; /* the lap stays at the last lap */
            }
            me->highest_lap = (uint16_t)(me->lap + 1);
        }
        me->lap++;
    }
}

/* Returns the nearest of the checkpoints that lead to a checkpoint: the way that the driver
 * came. */
static uint32_t nearest_of(const uint16_t *points, uint32_t count, vec3 p) {
    uint32_t best = points[0];
    fx32 least = 0x7FFFFFFF;
    for (uint32_t i = 0; count > 1 && i < count; i++) {
        vec3 apart = v_sub(track_middle(points[i]), p);
        fx32 far = fx_abs(apart.x) + fx_abs(apart.z);
        if (far < least) {
            least = far;
            best = points[i];
        }
    }
    return best;
}

/* The driver crosses a line backwards. */
static void crossed_back(uint32_t index, uint32_t point) {
    driver_status *me = status_of(index);
    int16_t key = track.points[point].key;
    uint16_t previous[3];
    uint32_t count = track_previous(point, previous);
    if (!count) {
        return;
    }
    enter(me, nearest_of(previous, count, game.drivers[index].position));
    if (key < 0 || (me->flags & STATUS_FLAG_FINISHED)) {
        return;
    }
    me->key_checkpoint = key == 0 ? track.last_key : (int16_t)(key - 1);
    if (key == me->last_key_checkpoint) {
        if (key == 0) {
            me->lap--;
        }
        me->last_key_checkpoint = me->key_checkpoint;
    }
}

/* The next line counts. If the driver missed it (around its end), one of the two lines after it
 * counts, but never a line beyond a key checkpoint. */
static int passed_forward(uint32_t index, uint32_t point, vec3 a, vec3 b, int depth) {
    uint16_t next[3];
    uint32_t count = track_next(point, next);
    for (uint32_t i = 0; i < count; i++) {
        if (crossing(next[i], a, b) > 0) {
            crossed_forward(index, next[i]);
            return 1;
        }
    }
    for (uint32_t i = 0; i < count && depth > 1; i++) {
        if (track.points[next[i]].key < 0 && passed_forward(index, next[i], a, b, depth - 1)) {
            return 1;
        }
    }
    return 0;
}

static int passed_back(uint32_t index, uint32_t point, vec3 a, vec3 b, int depth) {
    if (crossing(point, a, b) < 0) {
        crossed_back(index, point);
        return 1;
    }
    uint16_t previous[3];
    uint32_t count = track_previous(point, previous);
    for (uint32_t i = 0; i < count && depth > 1; i++) {
        if (track.points[point].key < 0 && passed_back(index, previous[i], a, b, depth - 1)) {
            return 1;
        }
    }
    return 0;
}

static void update_progress(uint32_t index) {
    driver_status *me = status_of(index);
    const driver *kart = &game.drivers[index];
    uint32_t point = me->checkpoint;
    uint16_t next[3];
    uint32_t count = track_next(point, next);
    fx32 share = 0;
    if (count) {
        /* From the distances to both lines: 0 on the first line and 1 on the second. */
        fx32 behind = fx_max(distance_behind(point, kart->position), 0);
        fx32 ahead = fx_max(-distance_behind(nearest_of(next, count, kart->position), kart->position), 0);
        share = behind + ahead > 0 ? fx_div(behind, behind + ahead) : FX_ONE;
    }
    me->checkpoint_progress = share;
    fx32 at = track.from_start[point] + fx_mul(track.length_of[point], share);
    if (track.length > 0) {
        me->lap_progress = fx_clamp(fx_div(at, track.length), 0, FX_ONE);
    }
    racer_of(index)->distance = (me->lap - 1) * track.length + at;
    if (me->flags & STATUS_FLAG_FINISHED) {
        me->race_progress = FX_ONE;
    } else {
        fx32 laps = (me->lap - 1) * FX_ONE + me->lap_progress;
        me->race_progress = fx_clamp(laps / (int32_t)game.laps, 0, FX_ONE);
    }
}

static void update_wrong_way(uint32_t index) {
    driver_status *me = status_of(index);
    const driver *kart = &game.drivers[index];
    vec3 way = track.way[me->checkpoint];
    if (!way.x && !way.z) { /* a fork, or an end */
        uint16_t next[3];
        uint32_t count = track_next(me->checkpoint, next);
        if (!count) {
            return;
        }
        way = v_sub(track_middle(nearest_of(next, count, kart->position)), track_middle(me->checkpoint));
        way = v_unit(way, kart->forward);
    }
    fx32 along = v_dot(kart->velocity, way);
    if (along > 0 || (kart->flags & DRIVER_FLAG_RESPAWNING)) {
        racer_of(index)->wrong_way_frames = 0;
        me->flags &= (uint16_t)~STATUS_FLAG_WRONG_WAY;
    } else if (along < -FX(0.5) && v_dot(kart->forward, way) < 0) {
        if (++racer_of(index)->wrong_way_frames >= WRONG_WAY_FRAMES) {
            me->flags |= STATUS_FLAG_WRONG_WAY;
        }
    }
}

void checkpoints_start(uint32_t index) {
    driver_status *me = status_of(index);
    uint16_t previous[3];
    me->state = 1;
    me->flags = game.drivers[index].kind & KIND_PLAYER ? STATUS_FLAG_PLAYER : 0;
    me->last_key_checkpoint = me->key_checkpoint = track.last_key;
    enter(me, track_previous(track.start, previous) ? previous[0] : track.start);
    for (int i = 0; i < LOOK_AHEAD && in_front(me->checkpoint, game.drivers[index].position) < 0; i++) {
        if (!track_previous(me->checkpoint, previous)) {
            break; /* the last rows of the grid stand farther back */
        }
        enter(me, previous[0]);
    }
    game.drivers[index].respawn_id = track.points[me->checkpoint].respawn;
    update_progress(index);
}

void checkpoints_frame(uint32_t index) {
    driver *kart = &game.drivers[index];
    driver_status *me = status_of(index);
    if (!(kart->flags & DRIVER_FLAG_RESPAWNING)) {
        vec3 a = kart->previous_position, b = kart->position;
        if (!passed_forward(index, me->checkpoint, a, b, LOOK_AHEAD)) {
            passed_back(index, me->checkpoint, a, b, LOOK_AHEAD);
        }
        kart->respawn_id = track.points[me->checkpoint].respawn;
    }
    update_progress(index);
    update_wrong_way(index);
    if (!(me->flags & STATUS_FLAG_FINISHED)) {
        me->total_milliseconds = clock_milliseconds(race.frames);
        me->total_time = clock_split(me->total_milliseconds);
    }
}

void checkpoints_respawn(uint32_t index) {
    driver *kart = &game.drivers[index];
    driver_status *me = status_of(index);
    const map_list *list = &game.map->lists[MAP_KTPJ];
    kart->flags &= ~(uint32_t)DRIVER_FLAG_RESPAWNING;
    if (kart->respawn_id < list->count) {
        const nkm_respawn *at = (const nkm_respawn *)list->entries + kart->respawn_id;
        kart_place(kart, at->position, fx_degrees(at->rotation.y));
    } else {
        vec3 middle = track_middle(me->checkpoint);
        middle.y = kart->position.y;
        kart_place(kart, middle, kart->heading);
    }
    /* The respawn point may lie before the last line crossed: that line is crossed again. */
    for (int i = 0; i < LOOK_AHEAD && in_front(me->checkpoint, kart->position) < 0; i++) {
        crossed_back(index, me->checkpoint);
    }
}

/* ---- ranking ---- */

/* Whether driver a is ahead of driver b. */
static int ahead(uint32_t a, uint32_t b) {
    uint32_t done_a = racer_of(a)->finish_order, done_b = racer_of(b)->finish_order;
    if (done_a || done_b) {
        return done_a && (!done_b || done_a < done_b);
    }
    return racer_of(a)->distance > racer_of(b)->distance;
}

/* Sorts the places of the last frame, which rarely change. A tie keeps its order. */
void ranking_update(void) {
    int8_t *order = game.status->driver_by_place;
    for (uint32_t i = 1; i < race.count; i++) {
        int8_t moving = order[i];
        uint32_t to = i;
        for (; to > 0 && ahead((uint32_t)moving, (uint32_t)order[to - 1]); to--) {
            order[to] = order[to - 1];
        }
        order[to] = moving;
    }
    for (uint32_t i = 0; i < race.count; i++) {
        uint32_t index = (uint32_t)order[i];
        game.drivers[index].place = (int32_t)i;
        status_of(index)->place_and_driver = (uint16_t)(i | index << 4);
    }
}
