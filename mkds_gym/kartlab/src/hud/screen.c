#include "hud/screen.h"

#include "hud/letters.h"

#define TILES ((volatile uint32_t *)0x06200000)  /* 4 bit tiles, 8 words each */
#define MAP ((volatile uint16_t *)0x0620C000)    /* 32 x 32 entries of background 0 */
#define BOX ((volatile uint16_t *)0x0620C800)    /* of background 1: the window */
#define BOX_TEXT ((volatile uint16_t *)0x0620D000) /* of background 2: the text of the window */
#define SPRITES ((volatile uint16_t *)0x07000400)
#define PICTURE ((volatile uint32_t *)0x06210000) /* 256 x 256 bytes */

/* Offset of the text from the grid of 8 x 8 tiles. */
#define TEXT_RIGHT 2
#define TEXT_DOWN 3

uint8_t canvas[192 * CANVAS_ROW] __attribute__((aligned(4)));

static void set_bank(int bank, uint16_t stroke, uint16_t rim, uint16_t top) {
    PALETTE(16 * bank + 1) = stroke;
    PALETTE(16 * bank + 2) = RGB15(1, 1, 3);
    PALETTE(16 * bank + 3) = rim;
    PALETTE(16 * bank + 4) = top;
}

/* ---- tiles ---- */

static letter_rows bitmap;

/* Cuts a bitmap into n x n tiles, with a shadow `drop` pixels to the lower right. */
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
    for (int tile = 0; tile < 9; tile++) {
        for (int y = 0; y < 8; y++) {
            for (int x = 0; x < 8; x++) {
                int in_x = tile % 3 == 0 ? x : tile % 3 == 2 ? 7 - x : 8;
                int in_y = tile / 3 == 0 ? y : tile / 3 == 2 ? 7 - y : 8;
                int corner = in_x + in_y, edge = in_x == 0 || in_y == 0 || corner == 3;
                int inner = in_x == 1 || in_y == 1 || corner == 4;
                pixels[y][x] = (uint8_t)(corner < 3 ? 0 : edge ? PANEL_LIGHT & 15 : inner ? INK & 15 : BOX_FILL & 15);
            }
        }
        letter_tile(TILES + 8 * (TILE_BOX + tile), pixels);
    }
}

/* ---- writing text ---- */

static volatile uint16_t *target = MAP; /* the map that text goes to */

void put(int x, int y, int tile, int bank) { target[32 * y + x] = (uint16_t)(tile | bank << 12); }

void small(int x, int y, const char *text, int bank) {
    for (; *text; text++) {
        put(x++, y, TILE_SMALL + (uint8_t)*text - FONT_FIRST, bank);
    }
}

void medium_glyph(int x, int y, char code, int bank) {
    int tile = TILE_MEDIUM + 4 * ((uint8_t)code - FONT_FIRST);
    put(x, y, tile, bank);
    put(x + 1, y, tile + 1, bank);
    put(x, y + 1, tile + 2, bank);
    put(x + 1, y + 1, tile + 3, bank);
}

int text_length(const char *text) {
    int length = 0;
    while (text[length]) {
        length++;
    }
    return length;
}

void medium(int x, int y, const char *text, int bank) {
    for (; *text; text++, x += 2) {
        medium_glyph(x, y, *text, bank);
    }
}

void medium_field(struct field *field, int x, int y, const char *text, int bank) {
    for (int i = 0; text[i] && i < 12; i++) {
        if (field->shown[i] != text[i] || field->bank != bank) {
            field->shown[i] = text[i];
            medium_glyph(x + 2 * i, y, text[i], bank);
        }
    }
    field->bank = (uint8_t)bank;
}

void small_field(struct field *field, int x, int y, const char *text, int bank) {
    for (int i = 0; text[i] && i < 12; i++) {
        if (field->shown[i] != text[i] || field->bank != bank) {
            field->shown[i] = text[i];
            put(x + i, y, TILE_SMALL + (uint8_t)text[i] - FONT_FIRST, bank);
        }
    }
    field->bank = (uint8_t)bank;
}

/* "1:23.45" */
void time_text(race_time time, char *out) {
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

uint32_t time_value(race_time time) { return (time.minutes * 60u + time.seconds) * 1000u + time.milliseconds; }

/* ---- the window ---- */

#define DISPCNT (1u << 16 | 1u << 12 | 9u << 8 | 1u << 4 | 3u)

void window_open(int x, int y, int width, int height) {
    for (int row = 0; row < 32; row++) {
        for (int column = 0; column < 32; column++) {
            int in_x = column - x, in_y = row - y, tile = TILE_EMPTY;
            if (in_x >= 0 && in_x < width && in_y >= 0 && in_y < height) {
                int third_y = in_y == 0 ? 0 : in_y == height - 1 ? 2 : 1;
                tile = TILE_BOX + 3 * third_y + (in_x == 0 ? 0 : in_x == width - 1 ? 2 : 1);
            }
            BOX[32 * row + column] = (uint16_t)(tile | BOX_BANK << 12);
            BOX_TEXT[32 * row + column] = TILE_EMPTY;
        }
    }
    /* hide the karts on the map: sprites would lie in front of the window */
    GX_DISPCNT(GX_SUB) = (DISPCNT & ~(1u << 12)) | 1u << 9 | 1u << 10;
}

void window_small(int x, int y, const char *text, int bank) {
    target = BOX_TEXT;
    small(x, y, text, bank);
    target = MAP;
}

void window_medium(int x, int y, const char *text, int bank) {
    target = BOX_TEXT;
    medium(x, y, text, bank);
    target = MAP;
}

void window_close(void) { GX_DISPCNT(GX_SUB) = DISPCNT; }

/* ---- the sheet ---- */

void screen_panel(int left, int top, int width, int height) {
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

void screen_clear(void) {
    window_close();
    for (int i = 0; i < 32 * 32; i++) {
        MAP[i] = 0;
    }
    for (int i = 0; i < 128; i++) {
        SPRITES[4 * i] = 1 << 9; /* hidden */
    }
    for (int y = 0; y < 192; y++) {
        for (int x = 0; x < 256; x++) {
            /* carbon fibre: a weave of 4 x 4 cells */
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
}

void screen_show(void) {
    for (int i = 0; i < 192 * 64; i++) {
        PICTURE[i] = ((const uint32_t *)canvas)[i];
    }
}

void screen_init(void) {
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
        /* the large figures shine: white at the top, a horizon, then blue that gets paler */
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
    screen_clear();

    /* mode 3: background 3 is extended; 256 x 256 bitmap at 64 KiB, text maps from 48 KiB */
    for (int i = 0; i < 3; i++) {
        GX_BGCNT(GX_SUB, i) = (uint16_t)((2 - i) | (24 + i) << 8);
        GX_BGHOFS(GX_SUB, i) = -TEXT_RIGHT & 0x1FF;
        GX_BGVOFS(GX_SUB, i) = -TEXT_DOWN & 0x1FF;
    }
    GX_BGCNT(GX_SUB, 3) = 3 | 1 << 7 | 4 << 8 | 1 << 14;
    GX_BG3P(GX_SUB, 0) = 0x100;
    GX_BG3P(GX_SUB, 1) = 0;
    GX_BG3P(GX_SUB, 2) = 0;
    GX_BG3P(GX_SUB, 3) = 0x100;
    GX_BG3X(GX_SUB) = 0;
    GX_BG3Y(GX_SUB) = 0;
    window_close();
}
