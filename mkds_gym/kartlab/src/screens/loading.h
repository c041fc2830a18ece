/* Loads races and sets up both screens for them. */
#ifndef KARTLAB_LOADING_H
#define KARTLAB_LOADING_H

#include "game.h"

/* Once: the heap's present contents outlive every race. */
void loading_init(void);

/* Loads a race; takes a few frames.  0: there is no such course. */
int load_race(const race_choice *choice);

/* Loads a race for the background of title and menu, with its screens. */
void load_backdrop(const race_choice *choice);

/* Sets up both screens for the loaded race. */
void open_screens(void);

#endif
