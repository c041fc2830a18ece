#include "race/ghost.h"

#include <stddef.h>
#include <string.h>

#define RUNS 12          /* number of races with a best run */
#define CHANGES_MAX 6000 /* a quarter of an hour of driving; longer runs are not kept */

struct change {
    uint16_t keys, frames; /* frames that these keys are held */
};

struct run {
    race_choice choice;
    uint32_t milliseconds; /* 0: no run */
    uint32_t number;       /* how many runs were kept before this run: the oldest is replaced */
    uint32_t count;
    struct change changes[CHANGES_MAX];
};

static struct run runs[RUNS], recorded;
static const struct run *ghost; /* the run of this race's ghost; null: no ghost */
static int enabled, recording;
static uint32_t replay_at, replay_left, run_count;

/* Returns whether the times of two races compare: same road, same kart. */
static int same_race(const race_choice *a, const race_choice *b) {
    return a->course == b->course && a->laps == b->laps && a->mode == b->mode && a->engine_class == b->engine_class &&
           a->mirror == b->mirror && a->skip_countdown == b->skip_countdown;
}

static struct run *run_of(const race_choice *choice) {
    for (int i = 0; i < RUNS; i++) {
        if (runs[i].milliseconds && same_race(&runs[i].choice, choice)) {
            return &runs[i];
        }
    }
    return 0;
}

void ghost_enable(int on) {
    if (recorded.milliseconds) { /* store the run only now: at the finish the old ghost may still drive */
        struct run *to = run_of(&recorded.choice);
        if (!to) {
            to = &runs[0];
            for (int i = 1; i < RUNS; i++) {
                to = runs[i].number < to->number ? &runs[i] : to;
            }
        }
        memcpy(to, &recorded, offsetof(struct run, changes) + recorded.count * sizeof *recorded.changes);
        to->number = ++run_count;
        recorded.milliseconds = 0;
    }
    recording = 0;
    enabled = on;
}

uint32_t ghost_milliseconds(const race_choice *choice) {
    const struct run *run = run_of(choice);
    return run ? run->milliseconds : 0;
}

int ghost_wanted(const race_choice *choice) {
    return enabled && choice->mode == MODE_TIME_TRIAL && run_of(choice);
}

void ghost_race_started(void) {
    recording = enabled && game.choice.mode == MODE_TIME_TRIAL;
    recorded.choice = game.choice;
    recorded.milliseconds = 0;
    recorded.count = 0;
    ghost = ghost_wanted(&game.choice) ? run_of(&game.choice) : 0;
    replay_at = 0;
    replay_left = ghost ? ghost->changes[0].frames : 0;
    if (ghost) {
        INPUT_UNITS[1].recording = ghost->changes;
    }
}

void ghost_frame(void) {
    if (!recording) {
        return;
    }
    struct change *last = &recorded.changes[recorded.count ? recorded.count - 1 : 0];
    if (recorded.count && last->keys == game.keys && last->frames < 0xFFFF) {
        last->frames++;
    } else if (recorded.count < CHANGES_MAX) {
        recorded.changes[recorded.count++] = (struct change){game.keys, 1};
    } else {
        recording = 0;
    }
}

void ghost_race_finished(void) {
    uint32_t time = game.status->drivers[0].total_milliseconds, record = ghost_milliseconds(&game.choice);
    if (recording && time && (!record || time < record)) {
        recorded.milliseconds = time;
    }
    recording = 0;
}

uint32_t ghost_keys(void) {
    while (!replay_left) {
        if (!ghost || replay_at + 1 >= ghost->count) {
            return 0;
        }
        replay_left = ghost->changes[++replay_at].frames;
    }
    replay_left--;
    return ghost->changes[replay_at].keys;
}
