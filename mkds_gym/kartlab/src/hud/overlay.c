#include "hud/overlay.h"

#include "game.h"
#include "hud/font.h"
#include "hud/letters.h"
#include "hud/seen.h"
#include "platform/fx.h"
#include "platform/gx.h"
#include "race/picture_state.h"
#include <string.h>

#define SPRITES ((volatile uint16_t *)0x07000000)
#define SPRITE_PALETTE(i) GX_R16(0x05000200 + 2 * (i))
#define TILES ((volatile uint32_t *)0x06400000)

#define LETTERS_MAX 10
#define NAME_BYTES 128 /* unit of sprite names */
#define SIZE_32 (32 * 32 / 2 / NAME_BYTES)
#define SIZE_64 (64 * 64 / 2 / NAME_BYTES)
_Static_assert(OVERLAY_FREE == 64 * SIZE_32 + 11 * SIZE_64, "the letters end elsewhere");

static const char small_set[] = "FINISH!WROGAYLP0123456789/BDEKTU"; /* the letters of the words below */
static const char large_set[] = "123GO!45678";
#define LARGE_FIRST (64 * SIZE_32)

#define FRAMES_A_COUNT 60
#define GO_FRAMES 60
#define LAP_FRAMES 100
#define FADE_FRAMES 14

static letter_rows fill, outline;

/* Draws a glyph with an outline: colours 1 to 12 from top to bottom, outline 13. */
static void make_letter(char code, int doublings, int name) {
    int size = 8 << doublings, margin = size / 16;
    letter_draw(code, doublings, fill);
    for (int y = size - 1; y >= 0; y--) {
        fill[y] = y < margin ? 0 : fill[y - margin] << margin;
        outline[y] = fill[y];
    }
    for (int turn = 0; turn < margin; turn++) {
        letter_grow(outline, size, turn & 1); /* an octagon, nearly round */
    }
    volatile uint32_t *out = TILES + name * (NAME_BYTES / 4);
    for (int tile = 0; tile < size * size / 64; tile++) {
        uint8_t pixels[8][8];
        for (int y = 0; y < 8; y++) {
            int row = 8 * (tile / (size / 8)) + y, shift = 8 * (tile % (size / 8));
            uint32_t inked = (uint32_t)(fill[row] >> shift), lined = (uint32_t)(outline[row] >> shift);
            uint8_t colour = (uint8_t)(1 + (row - margin) * 12 / size);
            for (int x = 0; x < 8; x++) {
                pixels[y][x] = inked >> x & 1 ? colour : lined >> x & 1 ? 13 : 0;
            }
        }
        letter_tile(out + 8 * tile, pixels);
    }
}

static void make_palette(int palette, uint32_t top, uint32_t bottom, uint16_t outline) {
    for (uint32_t i = 0; i < 12; i++) {
        uint32_t colour = 0;
        for (uint32_t shift = 0; shift < 15; shift += 5) {
            colour |= (((top >> shift & 31) * (11 - i) + (bottom >> shift & 31) * i) / 11) << shift;
        }
        SPRITE_PALETTE(16 * palette + 1 + (int)i) = (uint16_t)colour;
    }
    SPRITE_PALETTE(16 * palette + 13) = outline;
}

static int shown_letters;
struct overlay_counts overlay_counts[DRIVERS_MAX];

void overlay_letters(void) {
    for (const char *c = small_set; *c; c++) {
        make_letter(*c, 2, (*c - FONT_FIRST) * SIZE_32);
    }
    for (int i = 0; large_set[i]; i++) {
        make_letter(large_set[i], 3, LARGE_FIRST + i * SIZE_64);
    }
    make_palette(LETTERS_GOLD, RGB15(31, 31, 20), RGB15(31, 16, 2), RGB15(8, 3, 1));
    make_palette(LETTERS_RED, RGB15(31, 22, 14), RGB15(29, 3, 3), RGB15(7, 0, 1));
    make_palette(LETTERS_GREEN, RGB15(28, 31, 18), RGB15(4, 24, 6), RGB15(0, 6, 3));
    make_palette(LETTERS_ICE, RGB15(31, 31, 31), RGB15(10, 20, 31), RGB15(1, 3, 10));
}

void overlay_init(void) {
    shown_letters = 0;
    memset(overlay_counts, 0, sizeof overlay_counts);
    GX_MASTER_BRIGHT(GX_MAIN) = 0;
    for (int i = 0; i < 128; i++) {
        SPRITES[4 * i] = 1 << 9;
    }
}

int overlay_letter(char code) { return ((uint8_t)code - FONT_FIRST) * SIZE_32; }

int overlay_large_letter(char code) {
    int at = 0;
    while (large_set[at] && large_set[at] != code) {
        at++;
    }
    return LARGE_FIRST + at * SIZE_64;
}

/* scale: 4096 is the natural size */
static void show(const char *word, int large, int y, fx32 scale, int palette) {
    int length = 0, advance = fx_mul(large ? 52 : 27, scale), size = large ? 64 : 32;
    while (word[length]) {
        length++;
    }
    int x = 128 - length * advance / 2 + advance / 2;
    fx32 inverse = fx_div(FX_ONE, scale);
    SPRITES[3] = (uint16_t)(inverse >> 4);       /* PA */
    SPRITES[7] = (uint16_t)(inverse / 5 >> 4);   /* PB: slants forward */
    SPRITES[11] = 0;                             /* PC */
    SPRITES[15] = (uint16_t)(inverse >> 4);      /* PD */
    int used = 0;
    for (int i = 0; i < length && used < LETTERS_MAX; i++, x += advance) {
        if (word[i] == ' ') {
            continue;
        }
        int name = large ? overlay_large_letter(word[i]) : overlay_letter(word[i]);
        /* rotated sprites stand in a box of twice their size */
        SPRITES[4 * used] = (uint16_t)(((y - size) & 0xFF) | 3 << 8);
        SPRITES[4 * used + 1] = (uint16_t)(((x - size) & 0x1FF) | (large ? 3 : 2) << 14);
        SPRITES[4 * used + 2] = (uint16_t)(name | palette << 12);
        used++;
    }
    for (int i = used; i < shown_letters; i++) {
        SPRITES[4 * i] = 1 << 9;
    }
    shown_letters = used;
}

void overlay_word(const char *word, int y, fx32 scale, int palette) { show(word, 0, y, scale, palette); }

fx32 overlay_pop(uint32_t age) { return age >= 12 ? FX_ONE : FX_ONE + (fx32)((12 - age) * (12 - age)) * 25; }

void overlay_count(void) {
    struct overlay_counts *counts = &overlay_counts[game.first];
    const driver *kart = &game.drivers[game.shown];
    uint32_t flags = game.status->drivers[game.shown].flags;
    int hiding = kart->flags & DRIVER_FLAG_RESPAWNING && kart->respawn_counter < FADE_FRAMES;
    if (hiding && counts->dark < FADE_FRAMES) {
        counts->dark++;
    } else if (!hiding && counts->dark > 0) {
        counts->dark--;
    }
    counts->finished_for = flags & STATUS_FLAG_FINISHED ? counts->finished_for + 1 : 0;
    counts->wrong_for = flags & STATUS_FLAG_WRONG_WAY ? counts->wrong_for + 1 : 0;
}

void overlay_frame(void) {
    const race_status *status = &seen.status;
    const driver_status *mine = &status->drivers[game.shown];
    uint32_t dark = overlay_counts[game.first].dark, finished_for = overlay_counts[game.first].finished_for;
    uint32_t wrong_for = overlay_counts[game.first].wrong_for;
    GX_MASTER_BRIGHT(GX_MAIN) = (uint16_t)(dark ? 2u << 14 | dark * 16 / FADE_FRAMES : 0);

    uint32_t left = status->not_controllable;
    if (finished_for) {
        show("FINISH!", 0, 62, overlay_pop(finished_for), LETTERS_GOLD);
    } else if (left > 0 && !status->clock_running) {
        uint32_t count = (left + FRAMES_A_COUNT - 1) / FRAMES_A_COUNT;
        if (count > 3) {
            show("", 0, 0, FX_ONE, LETTERS_GOLD);
        } else {
            const char word[2] = {(char)('0' + count), 0};
            show(word, 1, 62, overlay_pop(count * FRAMES_A_COUNT - left), count == 1 ? LETTERS_GOLD : LETTERS_RED);
        }
    } else if (status->frame < GO_FRAMES) {
        show("GO!", 1, 62, overlay_pop(status->frame), LETTERS_GREEN);
    } else if (wrong_for) {
        if (wrong_for & 16) {
            show("", 0, 0, FX_ONE, LETTERS_RED);
        } else {
            show("WRONG WAY", 0, 56, FX(0.85), LETTERS_RED);
        }
    } else if (mine->lap > 1 && seen.since_lap < LAP_FRAMES && seen.last_lap_frames) {
        char word[8] = "LAP 0/0";
        word[4] = (char)('0' + mine->lap);
        word[6] = (char)('0' + game.laps);
        show(mine->lap == (int32_t)game.laps ? "FINAL LAP" : word, 0, 56, fx_mul(overlay_pop(seen.since_lap), FX(0.9)), LETTERS_ICE);
    } else if (shown_letters) {
        show("", 0, 0, FX_ONE, LETTERS_GOLD);
    }
}
