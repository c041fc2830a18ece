#include "race/alone.h"

#include "game.h"
#include "kart/kart.h"
#include "platform/heap.h"
#include "platform/hw.h"
#include "platform/memory_map.h"
#include "platform/pad.h"
#include "race/camera.h"
#include "race/picture_state.h"
#include "race/racer.h"

/* The words of `game` and `race` that change during a race. */
struct words {
    uint16_t keys, pressed;
    uint32_t last_lap_frames, since_lap, frames, finished;
};

/* Everything of a driver, without pointers and without the driver's number. */
struct state_block {
    driver driver;
    race_status status;
    race_state state;
    struct kart kart;
    struct racer racer;
    struct words words;
    struct chase chase;
    struct kart_pose pose;
    struct overlay_counts overlay;
};

static struct {
    driver *drivers;           /* of all drivers, as the next three */
    race_status *statuses;
    race_state *states;
    camera *cams;
    struct state_block *blocks;
    race_status *shared;       /* at RACE_STATUS_POINTER, as in a race of all drivers */
    struct words words[DRIVERS_MAX];
    int started;               /* the first frame, which publishes the race, is over */
    uint32_t shown, held, save, load; /* of this frame, from the host block */
    uint16_t keys[DRIVERS_MAX];
} all;

static void put_away(void) {
    all.words[game.first] = (struct words){game.keys, game.pressed, game.last_lap_frames, game.since_lap,
                                           race.frames, race.finished};
}

static void take(uint32_t index) {
    const struct words *words = &all.words[index];
    game.first = index;
    game.drivers = &all.drivers[index];
    game.status = &all.statuses[index];
    game.state = &all.states[index];
    game.cam = &all.cams[index];
    game.keys = words->keys;
    game.pressed = words->pressed;
    game.last_lap_frames = words->last_lap_frames;
    game.since_lap = words->since_lap;
    race.frames = words->frames;
    race.finished = words->finished;
}

void alone_init(void) {
    uint32_t count = game.choice.hosted;
    all.drivers = game.drivers;
    all.shared = game.status;
    all.statuses = heap_allocate(count * sizeof(race_status));
    all.states = heap_allocate(count * sizeof(race_state));
    all.cams = heap_allocate(count * sizeof(camera));
    all.blocks = heap_allocate(count * sizeof(struct state_block));
    for (int i = 0; i < DRIVERS_MAX; i++) {
        all.words[i] = (struct words){0};
    }
    HOST_BLOCK->state = (uint32_t)all.blocks;
    HOST_BLOCK->state_size = sizeof(struct state_block);
    HOST_BLOCK->statuses = (uint32_t)all.statuses;
    take(0);
}

void alone_select(uint32_t index) {
    if (index != game.first) {
        put_away();
        take(index);
    }
}

static void load(uint32_t index) {
    const struct state_block *block = &all.blocks[index];
    all.drivers[index] = block->driver;
    all.drivers[index].driver_id = (uint16_t)index;
    all.statuses[index] = block->status;
    all.states[index] = block->state;
    karts[index] = block->kart;
    racers[index] = block->racer;
    all.words[index] = block->words;
    chases[index] = block->chase;
    poses[index] = block->pose;
    overlay_counts[index] = block->overlay;
}

static void save(uint32_t index) {
    struct state_block *block = &all.blocks[index];
    block->driver = all.drivers[index];
    block->driver.driver_id = 0;
    block->status = all.statuses[index];
    block->state = all.states[index];
    block->kart = karts[index];
    block->racer = racers[index];
    block->words = all.words[index];
    block->chase = chases[index];
    block->chase.unseen = 1; /* the view follows from the rest */
    block->pose = poses[index];
    block->pose.place = (struct view_matrix){0}; /* computed for each picture */
    block->overlay = overlay_counts[index];
}

void alone_begin(void) {
    volatile host_block *host = HOST_BLOCK;
    uint32_t shown = host->shown;
    all.shown = shown == SHOWN_NOBODY || shown < game.choice.hosted ? shown : 0;
    all.held = host->held;
    all.save = all.started ? host->save : 0xFF; /* at first, the blocks hold the race's start */
    all.load = host->load;
    put_away();
    for (uint32_t i = 0; i < game.choice.hosted; i++) {
        all.keys[i] = host->keys[i] & (uint16_t)~KEY_START;
        if (all.load >> i & 1) {
            load(i);
        }
    }
    take(game.first);
    if (all.load) {
        host->load = 0;
    }
}

int alone_started(void) { return all.started; }
uint32_t alone_shown(void) { return all.shown; }
int alone_moves(uint32_t index) { return !(all.held >> index & 1); }
uint16_t alone_keys(uint32_t index) { return all.keys[index]; }

/* The structures of a race of all drivers. The clock is that of the first. */
static void publish(void) {
    *all.shared = all.statuses[0];
    for (uint32_t i = 0; i < game.choice.hosted; i++) {
        all.shared->drivers[i] = all.statuses[i].drivers[0];
        all.shared->drivers[i].place_and_driver |= (uint16_t)(i << 4);
        all.shared->driver_by_place[i] = (int8_t)i;
    }
    RACE_STATE_POINTER = game.state;
    CAMERA_POINTER = game.cam;
}

void alone_save(uint32_t index) {
    if (all.save >> index & 1) {
        put_away();
        save(index);
    }
}

void alone_end(void) {
    all.started = 1;
    publish();
    if (all.save) {
        HOST_BLOCK->save = 0;
    }
    dcache_clean(); /* the host may read before the picture is drawn */
    HOST_BLOCK->frames++;
}
