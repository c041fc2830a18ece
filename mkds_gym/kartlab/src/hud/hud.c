/* The bottom screen consists of text and a picture (hud/screen.h), and a sprite for each kart on
 * the map. */
#include "hud/hud.h"

#include "course/course_list.h"
#include "draw/draw_karts.h"
#include "draw/sky.h"
#include "hud/badge.h"
#include "hud/letters.h"
#include "hud/minimap.h"
#include "hud/overlay.h"
#include "hud/screen.h"
#include "hud/seen.h"
#include "kart/kart.h"
#include "platform/pad.h"
#include "race/clock.h"
#include "game.h"
#include <string.h>

#define SPRITE_PALETTE(i) GX_R16(0x05000600 + 2 * (i))
#define SPRITE_TILES ((volatile uint32_t *)0x06600000)
#define SPRITES ((volatile uint16_t *)0x07000400)

#define SPEED_TO_KMH 12 /* km/h for a world unit a frame, for display only */
#define BAR_TILES 14
#define BAR_FULL_KMH 110

#define DISC_TILE 4 /* after the four tiles of the arrow */

/* ---- the picture in the background ---- */

static void picture_init(void) {
    screen_clear();
    screen_panel(3, 18, 130, 53);    /* speed */
    screen_panel(3, 73, 130, 62);    /* lap, time, surface */
    screen_panel(3, 137, 130, 53);   /* laps */
    screen_panel(136, 18, 117, 115); /* map */
    screen_panel(136, 135, 117, 55); /* keys */
    minimap_paint(canvas, 142, 23, 105, ROAD_RIM, ROAD, START);
    screen_show();
}

/* ---- the kart on the map ---- */

static void dot_init(void) {
    static const char *const shape[16] = {
        "................", ".......##.......", "......#oo#......", "......#oo#......", ".....#oooo#.....", ".....#oooo#.....",
        "....#oooooo#....", "....#oooooo#....", "...#oooooooo#...", "...#oooooooo#...", "..#oooo##oooo#..", "..#ooo#..#ooo#..",
        "..#o##....##o#..", "...#........#...", "................", "................",
    };
    /* Discs in the paint of the other karts. */
    uint8_t disc[8][8];
    for (int y = 0; y < 8; y++) {
        for (int x = 0; x < 8; x++) {
            int away = (2 * x - 7) * (2 * x - 7) + (2 * y - 7) * (2 * y - 7);
            disc[y][x] = (uint8_t)(away <= 26 ? 2 : away <= 52 ? 1 : 0);
        }
    }
    letter_tile(SPRITE_TILES + 8 * DISC_TILE, disc);
    for (int i = 1; i < DRIVERS_MAX; i++) {
        SPRITE_PALETTE(16 * i + 1) = RGB15(2, 2, 4);
        SPRITE_PALETTE(16 * i + 2) = game.drivers[i].kind & KIND_GHOST ? RGB15(24, 26, 31) : paint_of[i];
    }
    for (int tile = 0; tile < 4; tile++) {
        uint8_t pixels[8][8];
        for (int y = 0; y < 8; y++) {
            for (int x = 0; x < 8; x++) {
                char c = shape[8 * (tile >> 1) + y][8 * (tile & 1) + x];
                pixels[y][x] = c == '#' ? 1 : c == 'o' ? 2 : 0;
            }
        }
        letter_tile(SPRITE_TILES + 8 * tile, pixels);
    }
    SPRITE_PALETTE(1) = RGB15(4, 1, 2);
    SPRITE_PALETTE(2) = RGB15(31, 9, 6);
}

static void dot_frame(const driver *kart) {
    int x, y;
    minimap_pixel(&kart->position, &x, &y);
    /* The shape points up. Heading 0 runs down the map (+z), and headings grow towards +x. */
    angle16 turn = fx_atan2(kart->forward.x, -kart->forward.z);
    int16_t sine = (int16_t)(fx_sin(turn) >> 4), cosine = (int16_t)(fx_cos(turn) >> 4);
    SPRITES[3] = (uint16_t)cosine; /* PA PB PC PD of rotation 0 */
    SPRITES[7] = (uint16_t)sine;
    SPRITES[11] = (uint16_t)-sine;
    SPRITES[15] = (uint16_t)cosine;
    SPRITES[0] = (uint16_t)(((y - 16) & 0xFF) | 3 << 8); /* rotated sprites stand in a box of twice their size */
    SPRITES[1] = (uint16_t)(((x - 16) & 0x1FF) | 1 << 14);
    SPRITES[2] = 0;
}

static void discs_frame(void) {
    for (int i = 1; i < (int)race.count; i++) {
        int x, y;
        minimap_pixel(&seen.positions[i], &x, &y);
        SPRITES[4 * i] = (uint16_t)((y - 4) & 0xFF);
        SPRITES[4 * i + 1] = (uint16_t)((x - 4) & 0x1FF);
        SPRITES[4 * i + 2] = (uint16_t)(DISC_TILE | i << 12);
    }
}

/* ---- instruments ---- */

static struct {
    int kmh, bar, surface, charge;
    uint32_t keys;
    struct field lap_text, time, lap_rows[5], best, surface_name;
} shown;

static void figures(int x, int y, int value) {
    int digits[3] = {value / 100, value / 10 % 10, value % 10};
    for (int i = 0; i < 3; i++) {
        int blank = (i == 0 && value < 100) || (i == 1 && value < 10);
        for (int tile = 0; tile < 16; tile++) {
            put(x + 4 * i + (tile & 3), y + (tile >> 2), blank ? TILE_EMPTY : TILE_LARGE + 16 * digits[i] + tile, FIGURE_BANK);
        }
    }
}

static void speed_frame(const driver *kart) {
    int kmh = (int)(fx_abs(kart->speed) * SPEED_TO_KMH + FX_ONE / 2) >> 12;
    kmh = kmh > 999 ? 999 : kmh;
    if (kmh != shown.kmh) {
        shown.kmh = kmh;
        figures(1, 3, kmh);
    }
    int bar = kmh * BAR_TILES * 8 / BAR_FULL_KMH;
    bar = bar > BAR_TILES * 8 ? BAR_TILES * 8 : bar;
    if (bar != shown.bar) {
        for (int i = 0; i < BAR_TILES; i++) {
            int now = bar - 8 * i, before = shown.bar - 8 * i;
            now = now < 0 ? 0 : now > 8 ? 8 : now;
            before = before < 0 ? 0 : before > 8 ? 8 : before;
            if (now != before || shown.bar < 0) {
                put(1 + i, 7, TILE_BAR + now, BAR_BANK + i * 5 / BAR_TILES);
            }
        }
        shown.bar = bar;
    }
}

static void laps_frame(const driver_status *status) {
    char text[12];
    int laps = (int)game.laps, lap = status->lap < 1 ? 1 : status->lap > laps ? laps : status->lap;
    int finished = (status->flags & STATUS_FLAG_FINISHED) != 0;
    text[0] = (char)('0' + lap);
    text[1] = '/';
    text[2] = (char)('0' + laps);
    text[3] = 0;
    medium_field(&shown.lap_text, 10, 9, text, lap == laps ? GOLD : WHITE);
    time_text(finished ? status->total_time : clock_time(seen.status.frame), text);
    medium_field(&shown.time, 1, 12, text, finished ? GREEN : WHITE);

    /* Times of the laps: the best in gold, the running lap in cyan. */
    int done = finished ? laps : lap - 1, best = -1;
    for (int i = 0; i < done && i < 5; i++) {
        if (best < 0 || time_value(status->lap_times[i]) < time_value(status->lap_times[best])) {
            best = i;
        }
    }
    for (int i = 0; i < 3; i++) {
        /* the last three laps of more */
        int row = (done > 2 && !finished ? done - 2 : finished && done > 3 ? done - 3 : 0) + i;
        char label[12] = "            ";
        int bank = DIM;
        if (row < laps && row < 5) {
            label[0] = 'L';
            label[1] = (char)('1' + row);
            label[2] = ' ';
            if (row < done) {
                time_text(status->lap_times[row], label + 3);
                bank = row == best ? GOLD : WHITE;
            } else if (row == done && !finished) {
                time_text(clock_time(status->lap_frames), label + 3);
                bank = CYAN;
            } else {
                const char *none = "-:--.--";
                for (int k = 0; k < 7; k++) {
                    label[3 + k] = none[k];
                }
            }
            label[10] = ' ';
        }
        label[11] = 0;
        small_field(&shown.lap_rows[i], 2, 18 + 2 * i, label, bank);
    }
}

struct surface_look {
    const char *name; /* nine letters */
    uint16_t colour;
};

static const struct surface_look *surface_look(const driver *kart) {
    static const struct surface_look air = {"AIR      ", RGB15(12, 20, 28)}, other = {"UNKNOWN  ", RGB15(16, 16, 16)};
    static const struct surface_look looks[] = {
        {"ROAD     ", RGB15(15, 15, 17)}, {"ICE      ", RGB15(22, 28, 31)}, {"GRASS    ", RGB15(8, 22, 6)},
        {"SAND     ", RGB15(27, 23, 13)}, {"ROAD     ", RGB15(15, 15, 17)}, {"MUD      ", RGB15(15, 9, 4)},
        {"SNOW     ", RGB15(28, 29, 31)}, {"BOOST    ", RGB15(31, 20, 2)},
    }, jump = {"JUMP     ", RGB15(8, 26, 31)};
    if (!(kart->state_bits & DRIVER_STATE_ON_FLOOR)) {
        return &air;
    }
    if (kart->floor_type == FLOOR_JUMP) {
        return &jump;
    }
    if (kart->floor_type == FLOOR_FAST_BOOST) {
        return &looks[FLOOR_BOOST];
    }
    return kart->floor_type < sizeof looks / sizeof *looks ? &looks[kart->floor_type] : &other;
}

static void surface_frame(const driver *kart) {
    const struct surface_look *look = surface_look(kart);
    small_field(&shown.surface_name, 4, 15, look->name, WHITE);
    if (shown.surface != look->colour) {
        uint32_t r = look->colour & 31, g = look->colour >> 5 & 31, b = look->colour >> 10;
        shown.surface = look->colour;
        PALETTE(16 * CHIP_BANK + 1) = look->colour;
        PALETTE(16 * CHIP_BANK + 3) = RGB15(r * 2 / 3, g * 2 / 3, b * 2 / 3);
        PALETTE(16 * CHIP_BANK + 4) = RGB15((r + 31) / 2, (g + 31) / 2, (b + 31) / 2);
    }
}

/* Three cells beside the surface: the charge of a drift's boost, what is left of a boost, or how
 * far the tow behind another kart has built up. */
static void charge_frame(const driver *kart, const struct kart *own) {
    int cells = 0, bank = CYAN;
    if (own->boost) {
        cells = (int)fx_min(fx_max(kart->boost_timer, kart->drift_boost_counter), 92) / 4 + 1;
        bank = BAR_BANK + 3;
    } else if (own->spark) {
        cells = own->spark > 1 ? 24 : 12;
        bank = own->spark > 1 ? BAR_BANK + 4 : CYAN;
    } else if (own->slipstream) {
        cells = own->slipstream * 24 / 255;
    } else if (kart->state_bits & DRIVER_STATE_DRIFTING) {
        cells = 4;
    }
    int look = cells | bank << 8;
    if (look == shown.charge) {
        return;
    }
    shown.charge = look;
    for (int i = 0; i < 3; i++) {
        int part = cells - 8 * i;
        put(13 + i, 15, cells ? TILE_BAR + (part < 0 ? 0 : part > 8 ? 8 : part) : TILE_EMPTY, bank);
    }
}

static void keys_frame(uint32_t keys) {
    static const struct {
        uint16_t mask;
        uint8_t cap, x, y;
    } caps[10] = {
        {KEY_A, 0, 29, 19}, {KEY_B, 1, 27, 21},    {KEY_X, 2, 27, 17},     {KEY_Y, 3, 25, 19},  {KEY_L, 4, 18, 17},
        {KEY_R, 5, 23, 17}, {KEY_LEFT, 6, 18, 19}, {KEY_RIGHT, 7, 22, 19}, {KEY_UP, 8, 20, 17}, {KEY_DOWN, 9, 20, 21},
    };
    uint32_t changed = keys ^ shown.keys;
    if (!changed) {
        return;
    }
    for (int i = 0; i < 10; i++) {
        if (changed & caps[i].mask) {
            int bank = keys & caps[i].mask ? KEY_HELD_BANK : KEY_UP_BANK;
            for (int tile = 0; tile < 4; tile++) {
                put(caps[i].x + (tile & 1), caps[i].y + (tile >> 1), TILE_KEY + 4 * caps[i].cap + tile, bank);
            }
        }
    }
    shown.keys = keys;
}

/* The title line: course, mode, class, and two arrows on a mirrored course. */
static void head(void) {
    static const char *const classes[3] = {"50CC", "100CC", "150CC"};
    const char *class = classes[game.engine_class < 3 ? game.engine_class : 1];
    const char *title = game.choice.course_data ? 0 : course_title(game.course_id);
    small(1, 0, title ? title : "RANDOM COURSE", GOLD);
    int x = 31 - text_length(class);
    small(x, 0, class, CYAN);
    x -= 1 + (game.choice.mode == MODE_VS ? 2 : 5);
    small(x, 0, game.choice.mode == MODE_VS ? "VS" : "TRIAL", WHITE);
    if (game.choice.mirror) {
        small(x - 3, 0, FONT_LEFT FONT_RIGHT, GREEN);
    }
}

void hud_init(void) {
    picture_init();
    dot_init();

    head();
    small(13, 6, "KMH", DIM);
    medium_glyph(1, 9, 'L', DIM);
    medium_glyph(3, 9, 'A', DIM);
    medium_glyph(5, 9, 'P', DIM);
    put(1, 15, TILE_CHIP, CHIP_BANK);
    put(2, 15, TILE_CHIP + 1, CHIP_BANK);
    memset(&shown, 0, sizeof shown);
    shown.kmh = shown.bar = shown.surface = -1;
    shown.keys = ~0u;
    for (uint32_t i = 0; i < 5; i++) {
        shown.lap_rows[i].bank = 0xFF;
    }
}

struct seen seen;

void hud_look(void) {
    const driver *kart = &game.drivers[game.shown];
    seen.kart = *kart;
    seen.own = *kart_of(kart);
    seen.status = *game.status;
    for (uint32_t i = 0; i < race.count; i++) {
        seen.positions[i] = game.drivers[i].position;
    }
    seen.keys = game.choice.hosted && !game.choice.alone ? seen.own.keys : game.keys;
    seen.last_lap_frames = game.last_lap_frames;
    seen.since_lap = game.since_lap;
    sky_look();
}

void hud_frame(void) {
    const driver *kart = &seen.kart;
    sky_frame();
    overlay_frame();
    badge_frame();
    speed_frame(kart);
    laps_frame(&seen.status.drivers[game.shown]);
    surface_frame(kart);
    keys_frame(seen.keys);
    charge_frame(kart, &seen.own);
    dot_frame(kart);
    discs_frame();
}
