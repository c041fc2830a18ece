/* Frames to times. */
#pragma once

#include "platform/memory_layout.h"

uint32_t clock_milliseconds(uint32_t frames);
race_time clock_split(uint32_t milliseconds);
race_time clock_time(uint32_t frames);
