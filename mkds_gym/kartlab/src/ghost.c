#include "ghost.h"

#include <string.h>

#define CHANGES_MAX 8192 /* twenty minutes of a person's driving; a longer run is not kept */

struct change {
    uint16_t keys, frames; /* held for so many frames */
};

struct run {
    race_choice choice;
    uint32_t milliseconds; /* 0: no run */
    uint32_t count;
    struct change changes[CHANGES_MAX];
};

static struct run best, recorded;
static int enabled, recording;
static uint32_t replay_at, replay_left;

void ghost_enable(int on) {
    if (recorded.milliseconds) { /* not at the finish, when the old ghost still drives */
        best.choice = recorded.choice;
        best.milliseconds = recorded.milliseconds;
        best.count = recorded.count;
        memcpy(best.changes, recorded.changes, recorded.count * sizeof *recorded.changes);
        recorded.milliseconds = 0;
    }
    recording = 0;
    enabled = on;
}

/* The same race as far as a run can be compared: same road, same kart. */
static int same_race(const race_choice *a, const race_choice *b) {
    return a->course == b->course && a->laps == b->laps && a->mode == b->mode && a->engine_class == b->engine_class &&
           a->mirror == b->mirror && a->skip_countdown == b->skip_countdown;
}

uint32_t ghost_milliseconds(const race_choice *choice) {
    return best.milliseconds && same_race(&best.choice, choice) ? best.milliseconds : 0;
}

int ghost_wanted(const race_choice *choice) {
    return enabled && choice->mode == MODE_TIME_TRIAL && ghost_milliseconds(choice) != 0;
}

void ghost_race_started(void) {
    recording = enabled && game.choice.mode == MODE_TIME_TRIAL;
    recorded.choice = game.choice;
    recorded.milliseconds = 0;
    recorded.count = 0;
    replay_at = 0;
    replay_left = best.count ? best.changes[0].frames : 0;
    if (ghost_wanted(&game.choice)) {
        INPUT_UNITS[1].recording = best.changes;
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

uint32_t ghost_keys(int index) {
    (void)index; /* there is one */
    while (!replay_left) {
        if (replay_at + 1 >= best.count) {
            return 0;
        }
        replay_left = best.changes[++replay_at].frames;
    }
    replay_left--;
    return best.changes[replay_at].keys;
}
