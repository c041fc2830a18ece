#include "game.h"
void race_init(void) {}
void race_frame(void) {}
