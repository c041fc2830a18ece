/* The boot block: the host's choice of a race. */
#pragma once

#include "game.h"

/* Returns 0 without a boot block; `choice` is then the default race. */
int boot_read(race_choice *choice);
/* Tells the host that the course does not exist. */
void boot_no_course(void);
