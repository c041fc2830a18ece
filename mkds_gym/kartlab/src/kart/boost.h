/* Boosts, and the timers of boosts, stalls and spin-outs. */
#pragma once

#include "kart/kart.h"

void kart_boost(driver *kart, enum boost boost, int frames);
void kart_boost_end(driver *kart);
void kart_boost_frame(driver *kart);              /* timers, pads, start boost */
void kart_countdown(driver *kart, uint32_t keys); /* a frame before GO: counts the frames of A */
uint32_t kart_usable_keys(const driver *kart, uint32_t keys);
fx32 kart_boost_factor(const driver *kart);       /* of the top speed; FX_ONE without a boost */
fx32 kart_boost_push(const driver *kart);         /* acceleration; 0 without a boost */
