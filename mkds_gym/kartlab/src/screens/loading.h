/* Loads races and sets up both screens for them. */
#pragma once

#include "game.h"

/* Marks the heap, once: its present contents survive every race. */
void loading_init(void);

/* Loads a race, which takes a few frames. Returns 0 when the course does not exist. */
int load_race(const race_choice *choice);

/* Loads a race behind title or menu, and sets up its screens. */
void load_backdrop(const race_choice *choice);

/* Sets up both screens for the loaded race. */
void open_screens(void);
