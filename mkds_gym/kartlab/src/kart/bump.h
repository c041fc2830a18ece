/* Contacts between karts, and the slipstream. */
#ifndef KARTLAB_BUMP_H
#define KARTLAB_BUMP_H

#include "kart/kart.h"

void karts_touch(void);
void kart_slipstream(driver *kart);

#endif
