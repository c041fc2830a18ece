#include "screens/sound.h"

#include "kart/kart.h"
#include "platform/pad.h"
#include "platform/sound_block.h"
#include <string.h>

#define CLOCK 16756991u
#define NOTE(frequency) ((uint16_t)(65536u - CLOCK / 8 / (frequency)))      /* square: 8 steps a period */
#define HISS(frequency) ((uint16_t)(65536u - CLOCK / (frequency)))          /* noise: a step a sample */

/* SOUNDxCNT's upper half: pan in the middle, then: */
#define PAN_MIDDLE 0x40
#define WAVE_DUTY(n) ((n) << 8)                /* (n + 1) eighths of a period are high */
#define REPEATED (1 << 11)
#define FORMAT_PCM8 (0 << 13)
#define FORMAT_OWN (3 << 13)                   /* square or noise */

/* ---- effects: a voice glides between the pitches and volumes of short steps ---- */

struct step {
    uint16_t timer;
    uint8_t volume, frames; /* reached after this many frames; 0 frames: the end */
};

struct effect {
    uint8_t voice, duty;
    struct step steps[8]; /* the first is the starting point: its frames do not count, but must not be 0 */
};

static const struct effect
    beep = {VOICE_LEAD, 3, {{NOTE(440), 80, 1}, {NOTE(440), 70, 12}, {NOTE(440), 0, 6}}},
    go = {VOICE_LEAD, 3, {{NOTE(880), 90, 1}, {NOTE(880), 84, 26}, {NOTE(880), 0, 16}}},
    lap = {VOICE_LEAD, 2, {{NOTE(659), 70, 1}, {NOTE(659), 60, 6}, {NOTE(880), 74, 1}, {NOTE(880), 60, 7}, {NOTE(1318), 74, 1}, {NOTE(1318), 0, 20}}},
    final_lap = {VOICE_LEAD, 2, {{NOTE(784), 76, 1}, {NOTE(784), 60, 5}, {NOTE(1046), 76, 1}, {NOTE(1046), 60, 5}, {NOTE(1318), 76, 1}, {NOTE(1568), 60, 10}, {NOTE(1568), 0, 24}}},
    finish = {VOICE_LEAD, 2, {{NOTE(523), 84, 1}, {NOTE(523), 70, 10}, {NOTE(659), 84, 1}, {NOTE(659), 70, 10}, {NOTE(784), 84, 1}, {NOTE(784), 72, 10}, {NOTE(1046), 0, 70}}},
    hop = {VOICE_EFFECT, 1, {{NOTE(260), 60, 1}, {NOTE(520), 46, 5}, {NOTE(560), 0, 4}}},
    spark = {VOICE_EFFECT, 0, {{NOTE(1200), 50, 1}, {NOTE(1700), 40, 4}, {NOTE(1700), 0, 5}}},
    charged = {VOICE_EFFECT, 0, {{NOTE(1500), 60, 1}, {NOTE(2300), 56, 5}, {NOTE(2300), 50, 4}, {NOTE(2600), 0, 10}}},
    boost = {VOICE_NOISE, 0, {{HISS(3000), 90, 1}, {HISS(16000), 100, 8}, {HISS(9000), 56, 20}, {HISS(4000), 0, 24}}},
    mushroom = {VOICE_EFFECT, 2, {{NOTE(300), 70, 1}, {NOTE(900), 66, 8}, {NOTE(1250), 50, 8}, {NOTE(1300), 0, 8}}},
    bump = {VOICE_NOISE, 0, {{HISS(2600), 110, 1}, {HISS(900), 60, 4}, {HISS(500), 0, 7}}},
    land = {VOICE_NOISE, 0, {{HISS(1300), 80, 1}, {HISS(600), 0, 7}}},
    spin = {VOICE_EFFECT, 1, {{NOTE(900), 76, 1}, {NOTE(420), 66, 14}, {NOTE(620), 60, 8}, {NOTE(200), 0, 22}}},
    tick = {VOICE_EFFECT, 3, {{NOTE(1046), 44, 1}, {NOTE(1046), 0, 3}}},
    got_item = {VOICE_EFFECT, 2, {{NOTE(1046), 66, 1}, {NOTE(1046), 56, 4}, {NOTE(1568), 66, 1}, {NOTE(1568), 0, 14}}},
    let_go = {VOICE_EFFECT, 1, {{NOTE(800), 66, 1}, {NOTE(360), 50, 7}, {NOTE(300), 0, 6}}},
    fall = {VOICE_EFFECT, 2, {{NOTE(1000), 56, 1}, {NOTE(180), 50, 34}, {NOTE(140), 0, 8}}},
    move = {VOICE_LEAD, 1, {{NOTE(880), 44, 1}, {NOTE(880), 0, 4}}},
    choose = {VOICE_LEAD, 2, {{NOTE(784), 64, 1}, {NOTE(784), 56, 4}, {NOTE(1175), 64, 1}, {NOTE(1175), 0, 16}}},
    back = {VOICE_LEAD, 2, {{NOTE(660), 56, 1}, {NOTE(440), 40, 6}, {NOTE(440), 0, 5}}},
    pause_on = {VOICE_LEAD, 3, {{NOTE(660), 60, 1}, {NOTE(660), 50, 5}, {NOTE(495), 60, 1}, {NOTE(495), 0, 14}}};

static int silent; /* the host wants no sound: each voice costs an emulator time */

static struct playing {
    const struct effect *effect; /* null: no effect */
    uint8_t step, frame;         /* the step that the voice glides to, and the frames so far */
} playing[VOICES];

/* ---- the engine's wave ---- */

#define WAVE_SAMPLES 128 /* two turns of the crank: four cylinders that fire a little differently */
static int8_t wave[WAVE_SAMPLES] __attribute__((aligned(32)));

static void make_wave(void) {
    static const int16_t strength[4] = {100, 74, 92, 66};
    for (int i = 0; i < WAVE_SAMPLES; i++) {
        int since = i & 31, bang = strength[i >> 5];
        /* a sharp rise, a fall below the middle, and a decaying ring */
        fx32 ring = fx_sin((angle16)(since * 0x1400)) * (32 - since) / 32;
        fx32 slope = FX_ONE - since * (2 * FX_ONE / 31);
        wave[i] = (int8_t)((slope * 3 / 5 + ring * 2 / 5) * bang / FX_ONE);
    }
}

/* ---- voices ---- */

static void set(int voice, uint32_t shape, uint32_t timer, uint32_t volume) {
    volatile struct sound_voice *v = &SOUND_BLOCK->voices[voice];
    if (v->volume == 0 && volume == 0) {
        return;
    }
    v->shape = (uint16_t)shape;
    v->timer = (uint16_t)timer;
    v->volume = (uint8_t)volume;
}

static void play(const struct effect *effect) {
    if (silent) {
        return;
    }
    int voice = effect->voice;
    playing[voice] = (struct playing){effect, 1, 0};
    SOUND_BLOCK->struck++;
    set(voice, PAN_MIDDLE | REPEATED | FORMAT_OWN | WAVE_DUTY(effect->duty), effect->steps[0].timer, effect->steps[0].volume);
    SOUND_BLOCK->voices[voice].strike++;
}

static void effects_frame(void) {
    for (int voice = VOICE_LEAD; voice < VOICES; voice++) {
        struct playing *p = &playing[voice];
        if (!p->effect) {
            continue;
        }
        const struct step *to = &p->effect->steps[p->step], *from = to - 1;
        if (p->step == 8 || !to->frames) {
            p->effect = 0;
            set(voice, 0, 0, 0);
            continue;
        }
        p->frame++;
        int part = p->frame, frames = to->frames;
        set(voice, SOUND_BLOCK->voices[voice].shape, (uint32_t)(from->timer + (to->timer - from->timer) * part / frames),
            (uint32_t)(from->volume + (to->volume - from->volume) * part / frames));
        if (part == frames) {
            p->step++;
            p->frame = 0;
        }
    }
}

void sound_init(void) {
    make_wave();
    memset(playing, 0, sizeof playing);
    for (int i = 0; i < VOICES; i++) {
        volatile struct sound_voice *v = &SOUND_BLOCK->voices[i];
        v->source = v->words = v->timer = v->shape = 0;
        v->volume = v->strike = 0;
    }
    SOUND_BLOCK->voices[VOICE_ENGINE].source = (uint32_t)wave;
    SOUND_BLOCK->voices[VOICE_ENGINE].words = WAVE_SAMPLES / 4;
    SOUND_BLOCK->struck = 0;
    dcache_clean(); /* the channel reads the wave from memory */
    SOUND_BLOCK->magic = SOUND_MAGIC;
}

/* ---- the sounds of a race ---- */

static struct {
    struct kart kart; /* the player's, a frame ago */
    uint32_t left, respawning, finished;
    fx32 pitch;       /* of the engine, 0 to a bit over 1 */
} before;

void sound_race(void) {
    memset(&before, 0, sizeof before);
    silent = !game.choice.sound;
    memset(playing, 0, sizeof playing);
    for (int i = 0; i < VOICES; i++) {
        set(i, 0, 0, 0);
    }
}

#define IDLE 17       /* periods of the wave a second at rest */
#define FULL 62       /* ... and at top speed */

static void engine_frame(const driver *kart, const struct kart *own) {
    int gas = own->keys & KEY_A;
    fx32 goal = fx_div(fx_abs(kart->speed), kart_class_speed());
    if (gas && goal < FX(0.25)) {
        goal += FX(0.2); /* the engine revs before the kart moves */
    }
    if (!(kart->state_bits & DRIVER_STATE_ON_FLOOR) && gas) {
        goal += FX(0.12);
    }
    before.pitch += (goal - before.pitch) / 6;
    uint32_t turns = (uint32_t)fx_max(IDLE * FX_ONE + (FULL - IDLE) * before.pitch, FX_ONE) >> 4; /* 8 fraction bits */
    uint32_t timer = 65536 - fx_udiv32(CLOCK / WAVE_SAMPLES << 8, turns);
    set(VOICE_ENGINE, PAN_MIDDLE | REPEATED | FORMAT_PCM8, timer, gas ? 44 : 30);
}

static void tyres_frame(const driver *kart, const struct kart *own) {
    uint32_t volume = 0, timer = 0;
    fx32 speed = fx_abs(kart->speed);
    if (own->spin_frames) {
        volume = 46;
        timer = HISS(7000);
    } else if (kart->state_bits & DRIVER_STATE_ON_FLOOR && speed > FX(0.7)) {
        if (floor_is_off_road(kart->floor_type)) {
            volume = 14 + (uint32_t)(fx_min(speed, FX(6.5)) / 840);
            timer = HISS(1500);
        } else if (kart->state_bits & DRIVER_STATE_DRIFTING) {
            volume = 26;
            timer = HISS(6000);
        }
    }
    set(VOICE_TYRES, PAN_MIDDLE | REPEATED | FORMAT_OWN, timer, volume);
}

void sound_frame(void) {
    if (silent) {
        return;
    }
    const driver *kart = &game.drivers[game.shown];
    const struct kart *own = kart_of(kart);
    uint32_t left = game.status->not_controllable, finished = game.status->drivers[game.shown].flags & STATUS_FLAG_FINISHED;
    uint32_t respawning = kart->flags & DRIVER_FLAG_RESPAWNING;

    if (left < before.left && left <= 180) {
        if (left == 0) {
            play(&go);
        } else if (left == 180 || left == 120 || left == 60) {
            play(&beep);
        }
    }
    if (finished && !before.finished) {
        play(&finish);
    } else if (game.since_lap == 0 && game.last_lap_frames) {
        play(game.status->drivers[game.shown].lap == (int32_t)game.laps ? &final_lap : &lap);
    }
    if (own->hop && !before.kart.hop) {
        play(&hop);
    }
    if (own->spark > before.kart.spark) {
        play(own->spark > 1 ? &charged : &spark);
    }
    if (own->boost && own->boost != before.kart.boost) {
        play(&boost);
        if (own->boost == BOOST_MUSHROOM) {
            play(&mushroom);
        }
    }
    if (own->bumped == 1 && (before.kart.bumped == 0 || before.kart.bumped > 12)) {
        play(&bump);
    }
    if (own->landed == 1 && before.kart.landed != 1) {
        play(&land);
    }
    if (own->spin_frames && !before.kart.spin_frames) {
        play(&spin);
    }
    if (own->roulette && own->roulette % 8 == 0) {
        play(&tick);
    } else if (before.kart.roulette && !own->roulette && own->item) {
        play(&got_item);
    } else if (own->item_count < before.kart.item_count && own->boost != BOOST_MUSHROOM) {
        play(&let_go);
    }
    if (respawning && !before.respawning) {
        play(&fall);
    }
    engine_frame(kart, own);
    tyres_frame(kart, own);
    effects_frame();
    before.kart = *own;
    before.left = left;
    before.finished = finished;
    before.respawning = respawning;
}

void sound_still(void) {
    set(VOICE_ENGINE, 0, 0, 0);
    set(VOICE_TYRES, 0, 0, 0);
    effects_frame();
}

void sound_play(enum sound sound) {
    static const struct effect *const effects[] = {&move, &choose, &back, &pause_on};
    play(effects[sound]);
}
