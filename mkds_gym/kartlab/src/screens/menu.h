/* Title and menu: both write the bottom screen and big letters over a race that drives itself. */
#ifndef KARTLAB_MENU_H
#define KARTLAB_MENU_H

#include "game.h"
#include "screens/next.h"

/* Once: reads the list of courses. */
void menu_init(void);

void title_open(void);
void title_show(void);
enum next title_move(void);

void menu_open(void);
void menu_show(void);
enum next menu_move(void);

/* The race that is chosen. */
race_choice menu_choice(void);

#endif
