/* The instruments on the bottom screen.
 *
 * Background 0 is text of 8 x 8 tiles: small letters, letters of twice and figures of four times
 * the size, keycaps and a bar are all tiles, so a changed value costs a few halfwords.  Background
 * 3 is a picture painted once: panels and the map.  One sprite is the kart on the map.
 */
#include "draw.h"
#include "font.h"
#include "fx.h"
#include "game.h"
#include "gx.h"
#include "letters.h"
#include "minimap.h"
#include "overlay.h"
#include "sky.h"

#define TILES ((volatile uint32_t *)0x06200000)  /* 4 bit tiles, 8 words each */
#define MAP ((volatile uint16_t *)0x0620C000)    /* 32 x 32 entries of background 0 */
#define PICTURE ((volatile uint32_t *)0x06210000) /* 256 x 256 bytes */
#define PALETTE(i) GX_R16(0x05000400 + 2 * (i))
#define SPRITE_PALETTE(i) GX_R16(0x05000600 + 2 * (i))
#define SPRITE_TILES ((volatile uint32_t *)0x06600000)
#define SPRITES ((volatile uint16_t *)0x07000400)

/* Tile numbers. */
enum {
    TILE_EMPTY = 0,
    TILE_SMALL = 1,                                /* one a glyph */
    TILE_MEDIUM = TILE_SMALL + FONT_COUNT,         /* 2 x 2 a glyph */
    TILE_LARGE = TILE_MEDIUM + 4 * FONT_COUNT,     /* 4 x 4 a figure */
    TILE_BAR = TILE_LARGE + 16 * 10,               /* 0 to 8 columns filled */
    TILE_KEY = TILE_BAR + 9,                       /* 2 x 2 a keycap */
    TILE_CHIP = TILE_KEY + 4 * 10,                 /* a filled cell with round corners, 2 x 1 */
};

/* Palette banks of the text: colour 1 the stroke, 2 its shadow, 3 and 4 keycap rim and top. */
enum { WHITE, DIM, GOLD, GREEN, RED, CYAN, KEY_UP_BANK, KEY_HELD_BANK };
enum { BAR_BANK = 8 }; /* 8 .. 12: the bar from green to red */
enum { CHIP_BANK = 13, FIGURE_BANK = 14 };

/* Colours of the picture, where the text's banks leave room: its letters use 1 to 4 only. */
enum { PANEL = 5, PANEL_STEPS = 11, WEAVE = 240, INK = 248, PANEL_EDGE, PANEL_LIGHT, ROAD_RIM, ROAD, START, STRIPE, STRIPE_DARK };

/* The text lies this far right and down of its 8 x 8 grid. */
#define TEXT_RIGHT 2
#define TEXT_DOWN 3

#define SPEED_TO_KMH 20 /* a unit a frame; only a figure for the driver's comfort */
#define BAR_TILES 14
#define BAR_FULL_KMH 110

static uint8_t canvas[192 * 256] __attribute__((aligned(4)));

static void set_bank(int bank, uint16_t stroke, uint16_t rim, uint16_t top) {
    PALETTE(16 * bank + 1) = stroke;
    PALETTE(16 * bank + 2) = RGB15(1, 1, 3);
    PALETTE(16 * bank + 3) = rim;
    PALETTE(16 * bank + 4) = top;
}

/* ---- tiles ---- */

static letter_rows bitmap;

/* Cuts a bitmap of n x n tiles up; a shadow of `drop` pixels lies to its lower right. */
static void tiles_from_bitmap(int first, int n, int drop, int gradient) {
    for (int tile = 0; tile < n * n; tile++) {
        uint8_t pixels[8][8];
        for (int y = 0; y < 8; y++) {
            for (int x = 0; x < 8; x++) {
                int px = 8 * (tile % n) + x, py = 8 * (tile / n) + y;
                int lit = (int)(bitmap[py] >> px & 1);
                int shaded = px >= drop && py >= drop && (bitmap[py - drop] >> (px - drop) & 1);
                pixels[y][x] = (uint8_t)(lit ? (gradient ? 4 + py / 3 : 1) : shaded ? 2 : 0);
            }
        }
        letter_tile(TILES + 8 * (first + tile), pixels);
    }
}

static void tiles_init(void) {
    uint8_t pixels[8][8];
    for (int y = 0; y < 8; y++) {
        TILES[y] = 0;
    }
    for (int i = 0; i < FONT_COUNT; i++) {
        letter_draw((char)(FONT_FIRST + i), 0, bitmap);
        tiles_from_bitmap(TILE_SMALL + i, 1, 1, 0);
        letter_draw((char)(FONT_FIRST + i), 1, bitmap);
        tiles_from_bitmap(TILE_MEDIUM + 4 * i, 2, 1, 0);
    }
    for (int i = 0; i < 10; i++) {
        letter_draw((char)('0' + i), 2, bitmap);
        tiles_from_bitmap(TILE_LARGE + 16 * i, 4, 2, 1);
    }
    for (int columns = 0; columns <= 8; columns++) {
        for (int y = 0; y < 8; y++) {
            for (int x = 0; x < 8; x++) {
                int gap = x == 7 || x == 3;
                pixels[y][x] = (uint8_t)(gap || y == 7 ? 0 : x >= columns ? 3 : y < 2 ? 4 : 1);
            }
        }
        letter_tile(TILES + 8 * (TILE_BAR + columns), pixels);
    }
    static const char keys[10] = {'A', 'B', 'X', 'Y', 'L', 'R', FONT_LEFT[0], FONT_RIGHT[0], FONT_UP[0], FONT_DOWN[0]};
    for (int i = 0; i < 10; i++) {
        letter_draw(keys[i], 0, bitmap);
        for (int tile = 0; tile < 4; tile++) {
            for (int y = 0; y < 8; y++) {
                for (int x = 0; x < 8; x++) {
                    int px = 8 * (tile & 1) + x, py = 8 * (tile >> 1) + y;
                    int edge_x = px < 8 ? px : 15 - px, edge_y = py < 8 ? py : 15 - py;
                    int gx = px - 4, gy = py - 4;
                    int colour = 4;
                    if (edge_x + edge_y < 2) {
                        colour = 0;
                    } else if (edge_x == 0 || edge_y == 0 || edge_x + edge_y == 2 || py >= 14) {
                        colour = 3;
                    } else if (gx >= 0 && gx < 8 && gy >= 0 && gy < 8 && (bitmap[gy] >> gx & 1)) {
                        colour = 1;
                    }
                    pixels[y][x] = (uint8_t)colour;
                }
            }
            letter_tile(TILES + 8 * (TILE_KEY + 4 * i + tile), pixels);
        }
    }
    for (int half = 0; half < 2; half++) {
        for (int y = 0; y < 8; y++) {
            for (int x = 0; x < 8; x++) {
                int edge_x = half ? 7 - x : x, edge_y = y < 4 ? y : 7 - y;
                pixels[y][x] = (uint8_t)(edge_x + edge_y < 2 ? 0 : y < 2 ? 4 : y > 5 ? 3 : 1);
            }
        }
        letter_tile(TILES + 8 * (TILE_CHIP + half), pixels);
    }
}

/* ---- writing text ---- */

static void put(int x, int y, int tile, int bank) { MAP[32 * y + x] = (uint16_t)(tile | bank << 12); }

static void small(int x, int y, const char *text, int bank) {
    for (; *text; text++) {
        put(x++, y, TILE_SMALL + (uint8_t)*text - FONT_FIRST, bank);
    }
}

static void medium_glyph(int x, int y, char code, int bank) {
    int tile = TILE_MEDIUM + 4 * ((uint8_t)code - FONT_FIRST);
    put(x, y, tile, bank);
    put(x + 1, y, tile + 1, bank);
    put(x, y + 1, tile + 2, bank);
    put(x + 1, y + 1, tile + 3, bank);
}

/* A text that changes: only glyphs other than those shown are written. */
struct field {
    char shown[12];
    uint8_t bank;
};

static void medium_field(struct field *field, int x, int y, const char *text, int bank) {
    for (int i = 0; text[i] && i < 12; i++) {
        if (field->shown[i] != text[i] || field->bank != bank) {
            field->shown[i] = text[i];
            medium_glyph(x + 2 * i, y, text[i], bank);
        }
    }
    field->bank = (uint8_t)bank;
}

static void small_field(struct field *field, int x, int y, const char *text, int bank) {
    for (int i = 0; text[i] && i < 12; i++) {
        if (field->shown[i] != text[i] || field->bank != bank) {
            field->shown[i] = text[i];
            put(x + i, y, TILE_SMALL + (uint8_t)text[i] - FONT_FIRST, bank);
        }
    }
    field->bank = (uint8_t)bank;
}

/* "1:23.45" */
static void time_text(race_time time, char *out) {
    uint32_t hundredths = time.milliseconds / 10u;
    out[0] = (char)('0' + time.minutes % 10);
    out[1] = ':';
    out[2] = (char)('0' + time.seconds / 10);
    out[3] = (char)('0' + time.seconds % 10);
    out[4] = '.';
    out[5] = (char)('0' + hundredths / 10);
    out[6] = (char)('0' + hundredths % 10);
    out[7] = 0;
}

static uint32_t time_value(race_time time) { return (time.minutes * 60u + time.seconds) * 1000u + time.milliseconds; }

/* ---- the picture behind ---- */

static void panel(int left, int top, int width, int height) {
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            int edge_x = x < width - 1 - x ? x : width - 1 - x, edge_y = y < height - 1 - y ? y : height - 1 - y;
            uint8_t *at = &canvas[(top + y) * 256 + left + x];
            if (edge_x + edge_y < 3) {
                continue;
            }
            if (edge_x == 0 || edge_y == 0 || edge_x + edge_y == 3) {
                *at = y < height / 2 ? PANEL_LIGHT : PANEL_EDGE;
            } else {
                *at = (uint8_t)(PANEL + y * (PANEL_STEPS - 1) / height);
            }
        }
    }
}

static void picture_init(void) {
    for (int y = 0; y < 192; y++) {
        for (int x = 0; x < 256; x++) {
            /* woven like carbon fibre: 4 x 4 cells, leaning both ways */
            int cell = (x >> 2) + (y >> 2), lean = cell & 1 ? (x + y) & 3 : (x - y) & 3;
            canvas[y * 256 + x] = (uint8_t)(WEAVE + lean + (cell & 1) * 4);
        }
    }
    for (int y = 0; y < 15; y++) {
        for (int x = 0; x < 256; x++) {
            int band = (x + y) / 6 & 1;
            canvas[y * 256 + x] = (uint8_t)(y > 12 ? (band ? STRIPE : START) : y == 12 ? INK : STRIPE_DARK);
        }
    }
    panel(3, 18, 130, 53);    /* speed */
    panel(3, 73, 130, 62);    /* lap, time, surface */
    panel(3, 137, 130, 53);   /* laps */
    panel(136, 18, 117, 115); /* map */
    panel(136, 135, 117, 55); /* keys */
    minimap_paint(canvas, 142, 23, 105, ROAD_RIM, ROAD, START);
    for (int i = 0; i < 192 * 64; i++) {
        PICTURE[i] = ((const uint32_t *)canvas)[i];
    }
}

/* ---- the kart on the map ---- */

static void dot_init(void) {
    static const char *const shape[16] = {
        "................", ".......##.......", "......#oo#......", "......#oo#......", ".....#oooo#.....", ".....#oooo#.....",
        "....#oooooo#....", "....#oooooo#....", "...#oooooooo#...", "...#oooooooo#...", "..#oooo##oooo#..", "..#ooo#..#ooo#..",
        "..#o##....##o#..", "...#........#...", "................", "................",
    };
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
    for (int i = 0; i < 128; i++) {
        SPRITES[4 * i] = 1 << 9; /* hidden */
    }
}

static void dot_frame(const driver *kart) {
    int x, y;
    minimap_pixel(&kart->position, &x, &y);
    /* The shape points up, heading 0 runs down the map (+z) and headings grow towards +x. */
    angle16 turn = fx_atan2(kart->forward.x, -kart->forward.z);
    int16_t sine = (int16_t)(fx_sin(turn) >> 4), cosine = (int16_t)(fx_cos(turn) >> 4);
    SPRITES[3] = (uint16_t)cosine; /* PA PB PC PD of rotation 0 */
    SPRITES[7] = (uint16_t)sine;
    SPRITES[11] = (uint16_t)-sine;
    SPRITES[15] = (uint16_t)cosine;
    SPRITES[0] = (uint16_t)(((y - 16) & 0xFF) | 3 << 8); /* turned, in a box of twice its size */
    SPRITES[1] = (uint16_t)(((x - 16) & 0x1FF) | 1 << 14);
    SPRITES[2] = 0;
}

/* ---- what is shown ---- */

static struct {
    int kmh, bar, lap, laps, surface;
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
    int finished = (status->flags & STATUS_FINISHED) != 0;
    text[0] = (char)('0' + lap);
    text[1] = '/';
    text[2] = (char)('0' + laps);
    text[3] = 0;
    medium_field(&shown.lap_text, 10, 9, text, lap == laps ? GOLD : WHITE);
    time_text(finished ? status->total_time : race_time_of(game.status->frame), text);
    medium_field(&shown.time, 1, 12, text, finished ? GREEN : WHITE);

    /* Laps driven so far: their times, the best in gold; the running one dim and growing. */
    int done = finished ? laps : lap - 1, best = -1;
    for (int i = 0; i < done && i < 5; i++) {
        if (best < 0 || time_value(status->lap_times[i]) < time_value(status->lap_times[best])) {
            best = i;
        }
    }
    for (int i = 0; i < 3; i++) {
        /* the last three when there are more */
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
                time_text(game.status->lap_time, label + 3);
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
        {"ICE      ", RGB15(22, 28, 31)}, {"BOOST    ", RGB15(31, 20, 2)},
    };
    if (!(kart->state_bits & DRIVER_ON_FLOOR)) {
        return &air;
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

void hud_init(void) {
    for (int i = 0; i < 32 * 32; i++) {
        MAP[i] = 0;
    }
    PALETTE(0) = RGB15(2, 2, 4);
    set_bank(WHITE, RGB15(31, 31, 31), 0, 0);
    set_bank(DIM, RGB15(13, 15, 19), 0, 0);
    set_bank(GOLD, RGB15(31, 26, 6), 0, 0);
    set_bank(GREEN, RGB15(12, 31, 12), 0, 0);
    set_bank(RED, RGB15(31, 10, 8), 0, 0);
    set_bank(CYAN, RGB15(14, 28, 31), 0, 0);
    set_bank(KEY_UP_BANK, RGB15(15, 17, 21), RGB15(4, 5, 8), RGB15(7, 8, 12));
    set_bank(KEY_HELD_BANK, RGB15(6, 3, 0), RGB15(20, 12, 1), RGB15(31, 24, 5));
    for (int i = 0; i < 5; i++) {
        static const uint16_t lit[5] = {RGB15(6, 27, 10), RGB15(16, 29, 7), RGB15(30, 28, 6), RGB15(31, 18, 4), RGB15(31, 7, 5)};
        set_bank(BAR_BANK + i, lit[i], RGB15(5, 6, 9), lit[i] | RGB15(12, 12, 12));
    }
    set_bank(CHIP_BANK, 0, 0, 0);
    set_bank(FIGURE_BANK, RGB15(31, 31, 31), 0, 0);
    for (int i = 4; i < 16; i++) {
        /* the big figures shine: white above, then a horizon, then blue growing paler */
        int row = i - 4;
        PALETTE(16 * FIGURE_BANK + i) = (uint16_t)(row < 5 ? RGB15(31 - row, 31, 31) : RGB15(8 + row * 2, 18 + row, 31));
    }
    for (int i = 0; i < 8; i++) {
        PALETTE(WEAVE + i) = (uint16_t)RGB15(2 + (i & 3) / 2 + i / 4, 2 + (i & 3) / 2 + i / 4, 4 + (i & 3) / 2 + i / 4);
    }
    PALETTE(INK) = RGB15(1, 1, 2);
    for (int i = 0; i < PANEL_STEPS; i++) {
        PALETTE(PANEL + i) = (uint16_t)RGB15(4 - i / 4, 6 - i / 3, 12 - i / 2);
    }
    PALETTE(PANEL_EDGE) = RGB15(6, 8, 13);
    PALETTE(PANEL_LIGHT) = RGB15(11, 15, 22);
    PALETTE(ROAD_RIM) = RGB15(28, 29, 31);
    PALETTE(ROAD) = RGB15(12, 14, 18);
    PALETTE(START) = RGB15(31, 31, 31);
    PALETTE(STRIPE) = RGB15(28, 4, 5);
    PALETTE(STRIPE_DARK) = RGB15(3, 4, 8);

    tiles_init();
    picture_init();
    dot_init();

    small(1, 0, "KARTLAB", GOLD);
    static const char *const classes[3] = {"50CC", "100CC", "150CC"};
    small(14, 0, "TIME TRIAL", WHITE);
    small(26, 0, classes[game.engine_class < 3 ? game.engine_class : 1], CYAN);
    small(13, 6, "KMH", DIM);
    medium_glyph(1, 9, 'L', DIM);
    medium_glyph(3, 9, 'A', DIM);
    medium_glyph(5, 9, 'P', DIM);
    put(1, 15, TILE_CHIP, CHIP_BANK);
    put(2, 15, TILE_CHIP + 1, CHIP_BANK);
    shown.kmh = shown.bar = shown.surface = -1;
    shown.keys = ~0u;
    for (uint32_t i = 0; i < 5; i++) {
        shown.lap_rows[i].bank = 0xFF;
    }

    /* mode 3: background 3 is extended; 256 x 256 bitmap at 64 KiB, text map at 48 KiB */
    GX_BGCNT(GX_SUB, 0) = 0 | 24 << 8;
    GX_BGHOFS(GX_SUB, 0) = -TEXT_RIGHT & 0x1FF;
    GX_BGVOFS(GX_SUB, 0) = -TEXT_DOWN & 0x1FF;
    GX_BGCNT(GX_SUB, 3) = 3 | 1 << 7 | 4 << 8 | 1 << 14;
    GX_BG3P(GX_SUB, 0) = 0x100;
    GX_BG3P(GX_SUB, 1) = 0;
    GX_BG3P(GX_SUB, 2) = 0;
    GX_BG3P(GX_SUB, 3) = 0x100;
    GX_BG3X(GX_SUB) = 0;
    GX_BG3Y(GX_SUB) = 0;
    GX_DISPCNT(GX_SUB) = 1u << 16 | 1u << 12 | 9u << 8 | 1u << 4 | 3u;
    overlay_init();
}

void hud_frame(void) {
    const driver *kart = &game.drivers[0];
    sky_frame();
    overlay_frame();
    speed_frame(kart);
    laps_frame(&game.status->drivers[0]);
    surface_frame(kart);
    keys_frame(game.keys);
    dot_frame(kart);
}
