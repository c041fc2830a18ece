/* Walls, spin-outs, and the pause before a respawn. */
#pragma once

#include "kart/kart.h"

void kart_wall(driver *kart, vec3 normal); /* the kart touches a wall */
void kart_spin_out(driver *kart);          /* no effect while the kart spins or is safe */
void kart_respawn(driver *kart);           /* starts the pause before a respawn */
