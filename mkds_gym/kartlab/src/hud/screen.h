/* The bottom screen as a sheet to write on: letters, panels, a window in front.
 *
 * Background 0 is text of 8 x 8 tiles: small letters, letters of twice and figures of four times
 * the size, keycaps and a bar are all tiles, so a changed value costs a few halfwords.  Backgrounds
 * 1 and 2 are a window in front of it and its text.  Background 3 is a picture painted once.
 */
#ifndef KARTLAB_SCREEN_H
#define KARTLAB_SCREEN_H

#include "hud/font.h"
#include "platform/gx.h"
#include "platform/memory_map.h"

#define PALETTE(i) GX_R16(0x05000400 + 2 * (i))

/* Tile numbers. */
enum {
    TILE_EMPTY = 0,
    TILE_SMALL = 1,                                /* one a glyph */
    TILE_MEDIUM = TILE_SMALL + FONT_COUNT,         /* 2 x 2 a glyph */
    TILE_LARGE = TILE_MEDIUM + 4 * FONT_COUNT,     /* 4 x 4 a figure */
    TILE_BAR = TILE_LARGE + 16 * 10,               /* 0 to 8 columns filled */
    TILE_KEY = TILE_BAR + 9,                       /* 2 x 2 a keycap */
    TILE_CHIP = TILE_KEY + 4 * 10,                 /* a filled cell with round corners, 2 x 1 */
    TILE_BOX = TILE_CHIP + 2,                      /* the window: 3 x 3, corners, edges, middle */
};

/* Palette banks of the text: colour 1 the stroke, 2 its shadow, 3 and 4 keycap rim and top. */
enum { WHITE, DIM, GOLD, GREEN, RED, CYAN, KEY_UP_BANK, KEY_HELD_BANK };
enum { BAR_BANK = 8 }; /* 8 .. 12: the bar from green to red */
enum { CHIP_BANK = 13, FIGURE_BANK = 14, BOX_BANK = 15 /* its colours are the picture's */ };

/* Colours of the picture, where the text's banks leave room: its letters use 1 to 4 only. */
enum { PANEL = 5, PANEL_STEPS = 11, WEAVE = 240, INK = 248, PANEL_EDGE, PANEL_LIGHT, ROAD_RIM, ROAD, START, STRIPE, STRIPE_DARK };
#define BOX_FILL STRIPE_DARK
enum { BAND = 21, BANDS = 11 }; /* free for whoever paints a sheet */

#define CANVAS_ROW 256
extern uint8_t canvas[192 * CANVAS_ROW]; /* the picture before it is shown */

/* Once, before the first picture: tiles, palettes, backgrounds. */
void screen_init(void);
/* An empty sheet: woven ground under a striped head on the canvas, no text, no window. */
void screen_clear(void);
/* A panel on the canvas. */
void screen_panel(int left, int top, int width, int height);
/* The canvas onto the screen. */
void screen_show(void);

void put(int x, int y, int tile, int bank);
void small(int x, int y, const char *text, int bank);
void medium(int x, int y, const char *text, int bank);
void medium_glyph(int x, int y, char code, int bank);
int text_length(const char *text);

/* A text that changes: only glyphs other than those shown are written. */
struct field {
    char shown[12];
    uint8_t bank;
};
void medium_field(struct field *field, int x, int y, const char *text, int bank);
void small_field(struct field *field, int x, int y, const char *text, int bank);

/* The window in front, in tiles; what it covers is there again when it closes. */
void window_open(int x, int y, int width, int height);
void window_small(int x, int y, const char *text, int bank);
void window_medium(int x, int y, const char *text, int bank);
void window_close(void);

/* "1:23.45" and a zero */
void time_text(race_time time, char *out);
uint32_t time_value(race_time time); /* milliseconds */

#endif
