/* Hop, drift and mini-turbo. */
#pragma once

#include "kart/kart.h"

int kart_hop(driver *kart, uint32_t keys);          /* 1: the kart left the floor in this frame */
void kart_drift_frame(driver *kart, uint32_t keys); /* begins, charges and ends drifts */
void kart_drift_end(driver *kart);                  /* without a boost */
int32_t kart_drift_turn(driver *kart);              /* angle16 that the heading turns in a drift */
int32_t kart_drift_recover(driver *kart);           /* ... and after a drift */
vec3 kart_way(const driver *kart);                  /* unit vector: where the kart goes when it does not slide */
