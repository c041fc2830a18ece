#include "race/cpu_obstacles.h"

#include "game.h"
#include "platform/fx.h"
#include "race/items.h"

#define CLEAR_OF_KART FX(22)
#define CLEAR_OF_BANANA FX(26)
#define LOOK_OUT FX(150)
#define BOX_AHEAD FX(350)      /* largest distance to a box */

/* Distances on the ground in the kart's own directions. */
static inline fx32 ahead_of(const driver *kart, vec3 apart) {
    return fx_mul(apart.x, kart->forward.x) + fx_mul(apart.z, kart->forward.z);
}
static inline fx32 left_of(const driver *kart, vec3 apart) {
    return fx_mul(apart.x, kart->forward.z) - fx_mul(apart.z, kart->forward.x);
}

/* Returns how far a point that lies `ahead` is to the left of the way to `target`. */
static inline fx32 left_of_way(const driver *kart, vec3 target, fx32 distance, vec3 apart, fx32 ahead) {
    fx32 aimed_left = left_of(kart, v_sub(target, kart->position));
    return left_of(kart, apart) - fx_div(fx_mul(aimed_left, fx_min(ahead, distance)), distance);
}

static fx32 dodge(const driver *kart, vec3 target, fx32 distance, vec3 obstacle, fx32 clear) {
    vec3 apart = v_sub(obstacle, kart->position);
    if (fx_abs(apart.x) > LOOK_OUT || fx_abs(apart.z) > LOOK_OUT || fx_abs(apart.y) > FX(30)) {
        return 0;
    }
    fx32 ahead = ahead_of(kart, apart);
    if (ahead < FX(6) || ahead > LOOK_OUT) {
        return 0;
    }
    fx32 left = left_of_way(kart, target, distance, apart, ahead);
    if (fx_abs(left) >= clear) {
        return 0;
    }
    return left > 0 ? left - clear : left + clear;
}

fx32 cpu_dodge(uint32_t index, vec3 target, fx32 distance) {
    const driver *kart = &game.drivers[index];
    fx32 most = 0;
    for (uint32_t i = 0; i < race.count; i++) {
        const driver *other = &game.drivers[i];
        if (i == index || (other->kind & KIND_GHOST) || other->speed > kart->speed + FX(0.3)) {
            continue; /* a faster kart is not in the way */
        }
        fx32 shift = dodge(kart, target, distance, other->position, CLEAR_OF_KART);
        most = fx_abs(shift) > fx_abs(most) ? shift : most;
    }
    for (uint32_t i = 0; i < ITEM_OBJECTS_MAX; i++) {
        if (item_objects[i].active && item_objects[i].kind == ITEM_BANANA) {
            fx32 shift = dodge(kart, target, distance, item_objects[i].position, CLEAR_OF_BANANA);
            most = fx_abs(shift) > fx_abs(most) ? shift : most;
        }
    }
    return most;
}

int16_t cpu_find_box(uint32_t index) {
    const driver *kart = &game.drivers[index];
    fx32 nearest = BOX_AHEAD;
    int16_t best = -1;
    for (uint32_t i = 0; i < item_box_count; i++) {
        vec3 apart = v_sub(item_boxes[i].position, kart->position);
        if (item_boxes[i].hidden_frames || fx_abs(apart.x) > BOX_AHEAD || fx_abs(apart.z) > BOX_AHEAD) {
            continue;
        }
        fx32 ahead = ahead_of(kart, apart), left = left_of(kart, apart);
        if (ahead > FX(24) && ahead < nearest && fx_abs(left) < ahead / 3 && fx_abs(apart.y) < FX(40)) {
            nearest = ahead;
            best = (int16_t)i;
        }
    }
    return best;
}

int cpu_box_side(uint32_t index, int box, vec3 target, fx32 distance, fx32 *side) {
    const driver *kart = &game.drivers[index];
    vec3 apart = v_sub(item_boxes[box].position, kart->position);
    fx32 ahead = ahead_of(kart, apart);
    if (ahead < FX(6)) {
        return 0;
    }
    *side = left_of_way(kart, target, distance, apart, ahead);
    return 1;
}
