/* The bottom screen: text, panels, and a window in front. Background 0 is text of 8 x 8 tiles:
 * small letters, letters of twice and figures of four times the size, keycaps and a bar. A changed
 * value costs a few halfwords. Backgrounds 1 and 2 are a window and its text. Background 3 is a
 * picture that is painted once. */
#pragma once

#include "hud/font.h"
#include "platform/gx.h"
#include "platform/memory_layout.h"

#define PALETTE(i) GX_R16(0x05000400 + 2 * (i))

/* Tile numbers. */
enum {
    TILE_EMPTY = 0,
    TILE_SMALL = 1,                                /* one for each glyph */
    TILE_MEDIUM = TILE_SMALL + FONT_COUNT,         /* 2 x 2 for each glyph */
    TILE_LARGE = TILE_MEDIUM + 4 * FONT_COUNT,     /* 4 x 4 for each figure */
    TILE_BAR = TILE_LARGE + 16 * 10,               /* 0 to 8 columns filled */
    TILE_KEY = TILE_BAR + 9,                       /* 2 x 2 for each keycap */
    TILE_CHIP = TILE_KEY + 4 * 10,                 /* a filled cell with rounded corners, 2 x 1 */
    TILE_BOX = TILE_CHIP + 2,                      /* the window: 3 x 3, corners, edges, middle */
};

/* Palette banks of the text: colour 1 is the stroke, 2 its shadow, 3 and 4 rim and top of a
 * keycap. */
enum { WHITE, DIM, GOLD, GREEN, RED, CYAN, KEY_UP_BANK, KEY_HELD_BANK };
enum { BAR_BANK = 8 }; /* 8 .. 12: the bar from green to red */
enum { CHIP_BANK = 13, FIGURE_BANK = 14, BOX_BANK = 15 /* its colours belong to the picture */ };

/* Colours of the picture, in the parts of the text's banks that letters do not use (5 and up). */
enum { PANEL = 5, PANEL_STEPS = 11, WEAVE = 240, INK = 248, PANEL_EDGE, PANEL_LIGHT, ROAD_RIM, ROAD, START, STRIPE, STRIPE_DARK };
#define BOX_FILL STRIPE_DARK
enum { BAND = 21, BANDS = 11 }; /* free for the screens' own pictures */

#define CANVAS_ROW 256
extern uint8_t canvas[192 * CANVAS_ROW]; /* the picture, before screen_show */

/* Sets up tiles, palettes and backgrounds, once before the first picture. */
void screen_init(void);
/* Clears text and window, and paints an empty background on the canvas. */
void screen_clear(void);
/* Paints a panel on the canvas. */
void screen_panel(int left, int top, int width, int height);
/* Copies the canvas to the screen. */
void screen_show(void);

void put(int x, int y, int tile, int bank);
void small(int x, int y, const char *text, int bank);
void medium(int x, int y, const char *text, int bank);
void medium_glyph(int x, int y, char code, int bank);
int text_length(const char *text);

/* A text that changes: only changed glyphs are written. */
struct field {
    char shown[12];
    uint8_t bank;
};
void medium_field(struct field *field, int x, int y, const char *text, int bank);
void small_field(struct field *field, int x, int y, const char *text, int bank);

/* The window in front, in tiles. window_close uncovers what lies behind. */
void window_open(int x, int y, int width, int height);
void window_small(int x, int y, const char *text, int bank);
void window_medium(int x, int y, const char *text, int bank);
void window_close(void);

/* writes "1:23.45" and a zero byte */
void time_text(race_time time, char *out);
uint32_t time_value(race_time time); /* milliseconds */
