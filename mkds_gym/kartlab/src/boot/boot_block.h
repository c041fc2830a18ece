/* The boot block: the race that the host wants, if any. */
#pragma once

#include "game.h"

/* 0: the host wants no race, and `choice` is the default race. */
int boot_read(race_choice *choice);
/* Answers that the course does not exist. */
void boot_no_course(void);
