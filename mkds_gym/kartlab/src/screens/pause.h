/* The window of a paused race. */
#pragma once

#include "screens/next.h"

/* `hosted`: the host's own race, which can only be resumed. */
void pause_open(int hosted);
void pause_show(void);
enum next pause_move(void);
