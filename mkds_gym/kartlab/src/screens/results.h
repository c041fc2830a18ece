/* The window after the finish of a race from the menu. */
#pragma once

#include "screens/next.h"

void results_init(void);  /* at a race's start */
void results_show(void);
enum next results_move(void); /* NEXT_RACE: the same race again */
