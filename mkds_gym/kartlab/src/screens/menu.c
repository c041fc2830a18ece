#include "screens/menu.h"

#include "course/course_list.h"
#include "hud/minimap.h"
#include "hud/overlay.h"
#include "hud/screen.h"
#include "platform/fx.h"
#include "platform/pad.h"
#include "race/clock.h"
#include "race/ghost.h"
#include "screens/loading.h"
#include "screens/sound.h"
#include <string.h>

static struct {
    uint32_t course, vs, engine_class, laps, mirror, opponents, strength, items;
} want = {.engine_class = 1, .opponents = 7, .strength = 1, .items = 1};
static uint32_t shown_course; /* behind the title */

void menu_init(void) {
    course_list_init();
    for (uint32_t i = 0; i < course_list_count; i++) {
        if (course_list[i].id == DEFAULT_COURSE) {
            want.course = shown_course = i;
        }
    }
}

/* ---- the title ---- */

#define SHOW_FRAMES 1200 /* frames of each course behind the title */

static uint32_t age;
static uint32_t chance; /* the seed of a race: the frames until its start */

static race_choice trial_on(uint32_t course) {
    race_choice choice = race_choice_default();
    choice.course = course;
    choice.sound = 1;
    return choice;
}

static void centred(int y, const char *text, int bank) { small(16 - text_length(text) / 2, y, text, bank); }

void title_open(void) {
    race_choice choice = trial_on(course_list[shown_course % course_list_count].id);
    load_backdrop(&choice);
    age = 0;
    screen_clear();
    screen_panel(16, 28, 224, 50);
    screen_panel(16, 90, 224, 88);
    screen_show();
    small(1, 0, "KARTLAB", GOLD);
    int length = text_length(course_list[shown_course % course_list_count].title);
    small(31 - length, 0, course_list[shown_course % course_list_count].title, WHITE);
    centred(7, "ALONE OR AGAINST SEVEN", DIM);
    static const struct {
        const char *key, *does;
    } keys[] = {{"A", "GAS"}, {"B", "BRAKE"}, {"L", "ITEM"}, {"R", "DRIFT"}, {FONT_LEFT FONT_RIGHT, "STEER"}, {"START", "PAUSE"}};
    for (int i = 0; i < 6; i++) {
        int x = i % 2 ? 15 : 3, y = 13 + i / 2 * 3;
        small(x, y, keys[i].key, GOLD);
        small(x + (i % 2 ? 6 : 3), y, keys[i].does, WHITE);
    }
}

void title_show(void) {
    age++;
    fx32 swing = fx_sin((angle16)(age * 400)) / 48;
    fx32 in = age < 24 ? (fx32)((24 - age) * (24 - age)) * 8 : 0;
    overlay_word("KARTLAB", 26, FX(1.12) + swing + in, LETTERS_GOLD);
    if (age % 32 == 1) {
        medium(5, 4, "PRESS START", age & 32 ? GOLD : WHITE);
    }
}

enum next title_move(void) {
    chance++;
    if (pad.pressed & (KEY_START | KEY_A)) {
        sound_play(SOUND_CHOOSE);
        return NEXT_MENU;
    }
    if (age >= SHOW_FRAMES) {
        shown_course++;
        return NEXT_TITLE;
    }
    return NEXT_STAY;
}

/* ---- the menu ---- */

enum row { ROW_COURSE, ROW_MODE, ROW_CLASS, ROW_LAPS, ROW_MIRROR, ROW_OPPONENTS, ROW_STRENGTH, ROW_ITEMS, ROWS };
#define RACE_ROWS ROW_OPPONENTS /* the rows from here on are for VS only */
#define REST 20 /* frames that a choice rests before its course is loaded */

static int row, drawn_row, changed;
static uint32_t rest, loaded_course, loaded_mirror, loaded_class;

static const struct {
    const char *label;
    uint8_t y;
} rows[ROWS] = {
    {"COURSE", 2}, {"MODE", 6}, {"CLASS", 8}, {"LAPS", 10}, {"MIRROR", 12}, {"RIVALS", 14}, {"STRENGTH", 16}, {"ITEMS", 18},
};

race_choice menu_choice(void) {
    race_choice choice = trial_on(course_list[want.course].id);
    choice.engine_class = want.engine_class;
    choice.laps = want.laps;
    choice.mirror = want.mirror;
    choice.seed = chance;
    if (want.vs) {
        choice.mode = MODE_VS;
        choice.drivers = want.opponents + 1;
        choice.grid = want.opponents;
        choice.strength = want.strength;
        choice.items = want.items;
    }
    return choice;
}

static void value_text(int which, char *out) {
    static const char *const classes[] = {"50CC", "100CC", "150CC"}, *const strengths[] = {"EASY", "NORMAL", "HARD"};
    const char *text = "";
    switch (which) {
    case ROW_MODE: text = want.vs ? "VS" : "TRIAL"; break;
    case ROW_CLASS: text = classes[want.engine_class]; break;
    case ROW_LAPS: text = want.laps ? "" : "NORMAL"; break;
    case ROW_MIRROR: text = want.mirror ? "ON" : "OFF"; break;
    case ROW_STRENGTH: text = strengths[want.strength]; break;
    case ROW_ITEMS: text = want.items ? "ON" : "OFF"; break;
    default: break;
    }
    int i = 0;
    while (text[i]) {
        out[i] = text[i];
        i++;
    }
    if (which == ROW_OPPONENTS || (which == ROW_LAPS && want.laps)) {
        out[i++] = (char)('0' + (which == ROW_LAPS ? want.laps : want.opponents));
    }
    while (i < 8) {
        out[i++] = ' ';
    }
    out[8] = 0;
}

static void step(uint32_t *value, uint32_t count, int by) { *value = (*value + count + (uint32_t)by) % count; }

static void change(int which, int by) {
    switch (which) {
    case ROW_COURSE: step(&want.course, course_list_count, by); break;
    case ROW_MODE: step(&want.vs, 2, by); break;
    case ROW_CLASS: step(&want.engine_class, 3, by); break;
    case ROW_LAPS: step(&want.laps, 10, by); break;
    case ROW_MIRROR: step(&want.mirror, 2, by); break;
    case ROW_OPPONENTS:
        want.opponents--;
        step(&want.opponents, 7, by);
        want.opponents++;
        break;
    case ROW_STRENGTH: step(&want.strength, 3, by); break;
    case ROW_ITEMS: step(&want.items, 2, by); break;
    default: break;
    }
    changed = 1;
    rest = 0;
    sound_play(SOUND_MOVE);
}

static int usable(int which) { return want.vs || which < RACE_ROWS; }

static void write_course(void) {
    const char *title = course_list[want.course].title;
    int length = text_length(title), lit = row == ROW_COURSE;
    char blank[29];
    memset(blank, ' ', 28);
    blank[28] = 0;
    small(2, 2, blank, WHITE);
    small(2, 3, blank, WHITE);
    if (length <= 14) {
        medium(16 - length, 2, title, lit ? GOLD : WHITE);
    } else {
        small(16 - length / 2, 3, title, lit ? GOLD : WHITE);
    }
    small(1, 3, FONT_LEFT, lit ? GOLD : DIM);
    small(30, 3, FONT_RIGHT, lit ? GOLD : DIM);
}

static void write_rows(void) {
    write_course();
    for (int i = ROW_MODE; i < ROWS; i++) {
        char text[12];
        int lit = i == row;
        value_text(i, text);
        small(1, rows[i].y, lit ? FONT_RIGHT : " ", GOLD);
        small(2, rows[i].y, rows[i].label, lit ? GOLD : usable(i) ? WHITE : KEY_UP_BANK);
        small(11, rows[i].y, usable(i) ? text : "-       ", lit ? GOLD : CYAN);
    }
    race_choice choice = menu_choice();
    uint32_t record = ghost_milliseconds(&choice);
    char text[12] = "       ";
    if (record) {
        time_text(clock_split(record), text);
    }
    small(20, 17, record ? "RECORD" : "      ", DIM);
    small(20, 19, text, GOLD);
    for (int i = 0; i < BANDS; i++) {
        PALETTE(BAND + i) = i == row ? RGB15(9, 13, 22) : RGB15(4, 6, 11);
    }
    drawn_row = row;
    changed = 0;
}

/* Paints the background and the map of the loaded course. */
static void paint(void) {
    screen_clear();
    screen_panel(3, 15, 250, 23);
    screen_panel(3, 41, 152, 127);
    screen_panel(157, 41, 96, 127);
    screen_panel(3, 170, 250, 21);
    for (int i = ROW_MODE; i < ROWS; i++) { /* a band under each row; the chosen row's is lit */
        for (int y = 0; y < 13; y++) {
            for (int x = 0; x < 144; x++) {
                canvas[(8 * rows[i].y + y) * CANVAS_ROW + 7 + x] = (uint8_t)(BAND + i);
            }
        }
    }
    minimap_paint(canvas, 163, 49, 84, ROAD_RIM, ROAD, START);
    screen_show();
    small(1, 0, "KARTLAB", GOLD);
    small(18, 0, "CHOOSE A RACE", WHITE);
    small(2, 21, "A", GOLD);
    small(4, 21, "START THE RACE", GREEN);
    small(24, 21, "B", GOLD);
    small(26, 21, "BACK", DIM);
}

void menu_open(void) {
    want.course %= course_list_count;
    race_choice choice = menu_choice();
    loaded_course = want.course;
    loaded_mirror = want.mirror;
    loaded_class = want.engine_class;
    load_backdrop(&choice);
    paint();
    write_rows();
}

void menu_show(void) {
    if (changed || drawn_row != row) {
        write_rows();
    }
}

enum next menu_move(void) {
    chance++;
    if (pad.pressed & (KEY_START | KEY_A)) {
        sound_play(SOUND_CHOOSE);
        return NEXT_RACE;
    }
    if (pad.pressed & KEY_B) {
        sound_play(SOUND_BACK);
        return NEXT_TITLE;
    }
    if (pad.tapped & (KEY_UP | KEY_DOWN)) {
        do {
            row = (row + (pad.tapped & KEY_DOWN ? 1 : ROWS - 1)) % ROWS;
        } while (!usable(row));
        sound_play(SOUND_MOVE);
    } else if (pad.tapped & (KEY_LEFT | KEY_RIGHT)) {
        change(row, pad.tapped & KEY_RIGHT ? 1 : -1);
    } else if (pad.tapped & (KEY_L | KEY_R)) {
        change(ROW_COURSE, pad.tapped & KEY_R ? 1 : -1);
    }
    int stale = loaded_course != want.course || loaded_mirror != want.mirror || loaded_class != want.engine_class;
    return stale && ++rest >= REST ? NEXT_RELOAD : NEXT_STAY;
}
