/* Kart physics. */
#pragma once

#include "kart/kart.h"

void kart_place(driver *kart, vec3 position, angle16 heading); /* at rest, on the floor below */
void kart_frame(driver *kart, uint32_t keys); /* keys: held by the driver, 0 before GO */
