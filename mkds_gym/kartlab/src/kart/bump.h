/* Contacts between karts, and the slipstream. */
#pragma once

#include "kart/kart.h"

void karts_touch(void);
void kart_slipstream(driver *kart);
