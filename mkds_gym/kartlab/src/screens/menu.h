/* Title and menu: the bottom screen, and large letters over a race that drives itself. */
#pragma once

#include "game.h"
#include "screens/next.h"

/* Reads the list of courses, once. */
void menu_init(void);

void title_open(void);
void title_show(void);
enum next title_move(void);

void menu_open(void);
void menu_show(void);
enum next menu_move(void);

/* Returns the chosen race. */
race_choice menu_choice(void);
