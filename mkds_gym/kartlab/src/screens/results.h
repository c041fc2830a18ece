/* The window that a finished race of the menu's ends with. */
#ifndef KARTLAB_RESULTS_H
#define KARTLAB_RESULTS_H

#include "screens/next.h"

void results_init(void);  /* at a race's start */
void results_show(void);
enum next results_move(void); /* NEXT_RACE: the same race again */

#endif
