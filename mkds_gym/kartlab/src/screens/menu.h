/* Title and menu: both write the bottom screen and big letters over a race that drives itself. */
#ifndef KARTLAB_MENU_H
#define KARTLAB_MENU_H

#include "game.h"

/* Once: the list of courses, read from the cartridge. */
void menu_init(void);

void title_open(void);
void title_show(void);
void title_move(void);

void menu_open(void);
void menu_show(void);
void menu_move(void);

/* The course's name, at most 28 letters; null when the cartridge's list has it not. */
const char *menu_course_title(uint32_t id);

#endif
