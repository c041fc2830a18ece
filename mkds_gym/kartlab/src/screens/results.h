/* The window that a finished race of the menu's ends with. */
#ifndef KARTLAB_RESULTS_H
#define KARTLAB_RESULTS_H

void results_init(void);  /* at a race's start */
void results_show(void);
int results_move(void);   /* 0: the race is left */

#endif
