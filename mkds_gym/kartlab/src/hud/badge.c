#include "hud/badge.h"

#include "hud/letters.h"
#include "hud/overlay.h"
#include "hud/seen.h"
#include "kart/kart.h"
#include "platform/gx.h"
#include "race/items.h"

#define SPRITES ((volatile uint16_t *)0x07000000)
#define SPRITE_PALETTE(i) GX_R16(0x05000200 + 2 * (i))
#define TILES ((volatile uint32_t *)0x06400000)

enum { SLOT_ITEM = 16, SLOT_FRAME, SLOT_COUNT, SLOT_TIMES, SLOT_PLACE, SLOT_ORDINAL, SLOTS_END = SLOT_ORDINAL + 2 };
enum { PALETTE_ITEM = 8 };
#define HIDDEN (1 << 9)
#define ICONS 4 /* mushroom, shell, banana, and the frame */

/* 12 x 12 pixels, shown at twice the size. A letter is a colour of `inks`, a dot is transparent. */
static const char *const icons[ICONS][12] = {
    {"....oooo....", "..ooyyyooo..", ".ooyyyooooo.", ".oyyooooyyo.", "oooooooyyyyo", "ooooooooyyoo",
     "oddddddddddo", ".dwwwwwwwwd.", "...wwwwww...", "...wwwwsw...", "...wwwssw...", "....wwss...."},
    {"....bbbb....", "..bbccccbb..", ".bccccccccb.", ".bccnnnnccb.", "bccnccccnccb", "bccnccnncncb",
     "bccnccncccnb", "bccncccnnccb", ".bccnccccnb.", ".bbccnnnnbb.", "wwbbbbbbbbww", ".wwwwwwwwww."},
    {".........dd.", "........ydd.", "........yy..", ".......yyy..", ".......yyy..", "......yyyo..",
     ".....yyyyo..", "...yyyyyoo..", ".yyyyyyoo...", "dyyyyyoo....", "ddoooo......", ".d.........."},
    {0},
};

static const struct {
    char name;
    uint16_t colour;
} inks[] = {
    {'o', RGB15(30, 15, 3)}, {'y', RGB15(31, 28, 6)}, {'d', RGB15(12, 6, 2)}, {'w', RGB15(31, 30, 26)}, {'s', RGB15(22, 20, 16)},
    {'b', RGB15(1, 9, 4)}, {'c', RGB15(7, 28, 9)}, {'n', RGB15(3, 18, 6)}, {'f', RGB15(31, 31, 31)}, {'g', RGB15(3, 5, 10)},
};
#define INKS ((int)(sizeof inks / sizeof *inks))

static int ink(char name) {
    for (int i = 0; i < INKS; i++) {
        if (inks[i].name == name) {
            return i + 1;
        }
    }
    return 0;
}

static char icon_pixel(int icon, int x, int y) {
    if (icon == ICONS - 1) {
        int in_x = x < 16 ? x : 31 - x, in_y = y < 16 ? y : 31 - y, corner = in_x + in_y;
        int edge = in_x < in_y ? in_x : in_y;
        return corner < 5 ? '.' : edge < 1 || corner < 7 ? 'g' : edge < 3 || corner < 9 ? 'f' : 'g';
    }
    return x < 4 || x >= 28 || y < 4 || y >= 28 ? '.' : icons[icon][(y - 4) / 2][(x - 4) / 2];
}

void badge_pictures(void) {
    for (int i = 0; i < INKS; i++) {
        SPRITE_PALETTE(16 * PALETTE_ITEM + 1 + i) = inks[i].colour;
    }
    for (int icon = 0; icon < ICONS; icon++) {
        for (int tile = 0; tile < 16; tile++) {
            uint8_t pixels[8][8];
            for (int y = 0; y < 8; y++) {
                for (int x = 0; x < 8; x++) {
                    pixels[y][x] = (uint8_t)ink(icon_pixel(icon, 8 * (tile & 3) + x, 8 * (tile >> 2) + y));
                }
            }
            letter_tile(TILES + (OVERLAY_FREE + 4 * icon) * 32 + 8 * tile, pixels);
        }
    }
}

static struct {
    int item, count, place;
} shown;

static void scale_group(int group, fx32 scale) {
    uint16_t inverse = (uint16_t)(fx_div(FX_ONE, scale) >> 4);
    volatile uint16_t *turn = SPRITES + 16 * group + 3;
    turn[0] = turn[12] = inverse;
    turn[4] = turn[8] = 0;
}

void badge_init(void) {
    shown.item = shown.count = 0;
    shown.place = -1;
    scale_group(1, FX(0.62)); /* the place */
    scale_group(2, FX(0.5));  /* the number of items, and the ordinal of the place */
    for (int i = SLOT_ITEM; i < SLOTS_END; i++) {
        SPRITES[4 * i] = HIDDEN;
    }
}

/* Shows a letter of the overlay, scaled by a rotation group. */
static void put_letter(int slot, int x, int y, int name, int large, int group, int palette) {
    SPRITES[4 * slot] = (uint16_t)((y & 0xFF) | 1 << 8);
    SPRITES[4 * slot + 1] = (uint16_t)((x & 0x1FF) | group << 9 | (large ? 3 : 2) << 14);
    SPRITES[4 * slot + 2] = (uint16_t)(name | palette << 12);
}

static void item_frame(const struct kart *own) {
    int item = own->item, count = own->item_count;
    if (own->roulette) {
        item = 1 + own->roulette / 4 % 3;
        count = 0;
    }
    if (item == shown.item && count == shown.count) {
        return;
    }
    shown.item = item;
    shown.count = count;
    for (int i = SLOT_ITEM; i <= SLOT_TIMES; i++) {
        SPRITES[4 * i] = HIDDEN;
    }
    if (item == ITEM_NONE || item > ITEM_BANANA) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        int icon = i ? ICONS - 1 : item - 1;
        SPRITES[4 * (SLOT_ITEM + i)] = 6;
        SPRITES[4 * (SLOT_ITEM + i) + 1] = 6 | 2 << 14;
        SPRITES[4 * (SLOT_ITEM + i) + 2] = (uint16_t)((OVERLAY_FREE + 4 * icon) | PALETTE_ITEM << 12);
    }
    if (count > 1) {
        put_letter(SLOT_COUNT, 30, 14, overlay_letter((char)('0' + count)), 0, 2, LETTERS_GOLD);
    }
}

static void place_frame(int place) {
    if (place == shown.place) {
        return;
    }
    shown.place = place;
    static const char endings[4][3] = {"ST", "ND", "RD", "TH"};
    const char *ending = endings[place < 3 ? place : 3];
    int palette = place == 0 ? LETTERS_GOLD : place < 3 ? LETTERS_ICE : LETTERS_RED;
    put_letter(SLOT_PLACE, -6, 134, overlay_large_letter((char)('1' + place)), 1, 1, palette);
    for (int i = 0; i < 2; i++) {
        put_letter(SLOT_ORDINAL + i, 34 + 14 * i, 152, overlay_letter(ending[i]), 0, 2, palette);
    }
}

void badge_frame(void) {
    item_frame(&seen.own);
    if (game.choice.drivers > 1 && seen.kart.place >= 0 && seen.kart.place < DRIVERS_MAX) {
        place_frame(seen.kart.place);
    }
}
