#include "race/items.h"

#include "course/collide.h"
#include "course/route.h"
#include "kart/boost.h"
#include "kart/crash.h"
#include "kart/physics.h"
#include "platform/memory_map.h"
#include "platform/pad.h"
#include "race/chance.h"
#include "game.h"
#include <string.h>

#define BOX_HEIGHT FX(30)           /* largest height above or below a box that still takes the box */
#define BOX_HIDDEN_FRAMES 75
#define TRIAL_MUSHROOMS 3
#define MUSHROOM_FRAMES 120
#define DROP_DISTANCE FX(24)        /* behind the kart, or in front of the kart */
#define OWNER_SAFE_FRAMES 24        /* frames in which a thing does not hit its owner */
#define BANANA_REACH FX(15)         /* distance between the centres of a kart and a thing */
#define SHELL_REACH FX(16)
#define SHELL_RADIUS FX(7)
#define SHELL_STEP FX(7.0)          /* longest move between two collision tests */
#define SHELL_FRAMES 540
#define SHELL_TURN 1100             /* angle16 a frame: 6 degrees */
#define SHELL_HOMING FX(300)        /* within this distance a shell leaves the route for its target */
#define FALL_LIMIT FX(10)
#define STICK FX(2.5)               /* presses a shell to the floor: it follows the road */

static const fx32 shell_speed[3] = {FX(10.2), FX(11.8), FX(13.4)}; /* by class */

/* Chances of 256 for a mushroom and a shell, else a banana: for the first and the last driver. */
static const struct { int32_t mushroom, shell; } leader = {40, 40}, last = {170, 80};

struct item_object item_objects[ITEM_OBJECTS_MAX];
struct item_box item_boxes[ITEM_BOXES_MAX];
uint32_t item_box_count;
static struct route route;

/* An OBJI entry. */
typedef struct { vec3 position, rotation, scale; int16_t id, path; uint8_t rest[0x14]; } map_object;
_Static_assert(sizeof(map_object) == 0x3C, "map_object");

void items_init(void) {
    memset(item_objects, 0, sizeof item_objects);
    memset(item_boxes, 0, sizeof item_boxes);
    item_box_count = 0;
    route.count = 0;
    if (game.choice.mode == MODE_TIME_TRIAL) {
        for (uint32_t i = 0; i < race.count; i++) {
            struct kart *own = kart_of(&game.drivers[i]);
            own->item = ITEM_MUSHROOM;
            own->item_count = TRIAL_MUSHROOMS;
        }
        return;
    }
    if (!game.choice.items) {
        return;
    }
    const map_list *list = &game.map->first[MAP_OBJI];
    const map_object *object = list->entries;
    for (uint32_t i = 0; i < list->count && item_box_count < ITEM_BOXES_MAX; i++) {
        if (object[i].id == OBJECT_ITEM_BOX) {
            item_boxes[item_box_count++] =
                (struct item_box){.id = OBJECT_ITEM_BOX, .position = object[i].position};
        }
    }
    route_init(&route, &game.map->lists[MAP_IPOI], 0x14, &game.map->lists[MAP_IPAT]);
}

/* ---- boxes and hands ---- */

static int takes_part(uint32_t index) {
    const driver *kart = &game.drivers[index];
    return !(kart->kind & KIND_GHOST) && !(kart->flags & DRIVER_FLAG_RESPAWNING);
}

static void boxes_frame(void) {
    for (uint32_t i = 0; i < item_box_count; i++) {
        struct item_box *box = &item_boxes[i];
        if (box->hidden_frames) {
            box->hidden_frames--;
            continue;
        }
        for (uint32_t k = 0; k < race.count; k++) {
            driver *kart = &game.drivers[k];
            vec3 apart = v_sub(kart->sphere_centre, box->position);
            fx32 reach = ITEM_BOX_RADIUS + kart->sphere_radius;
            if (fx_abs(apart.x) >= reach || fx_abs(apart.z) >= reach ||
                fx_abs(apart.y) >= BOX_HEIGHT || !takes_part(k) ||
                fx_mul(apart.x, apart.x) + fx_mul(apart.z, apart.z) >= fx_mul(reach, reach)) {
                continue;
            }
            box->hidden_frames = BOX_HIDDEN_FRAMES;
            kart->state_bits |= DRIVER_STATE_TOUCHING_OBJECT;
            struct kart *own = kart_of(kart);
            if (!own->item && !own->roulette) {
                own->roulette = ROULETTE_FRAMES;
            }
            break;
        }
    }
}

/* Returns the roulette's result: more mushrooms for the last driver, more traps for the first. */
static enum item draw_item(uint32_t index) {
    int32_t place = game.drivers[index].place, rivals = race.count > 1 ? (int32_t)race.count - 1 : 1;
    int32_t chance = (int32_t)(chance_now(CHANCE_ITEM + index) >> 8 & 0xFF);
    chance -= leader.mushroom + (last.mushroom - leader.mushroom) * place / rivals;
    if (chance < 0) {
        return ITEM_MUSHROOM;
    }
    chance -= leader.shell + (last.shell - leader.shell) * place / rivals;
    return chance < 0 ? ITEM_SHELL : ITEM_BANANA;
}

/* Returns a free place, or the place of the oldest thing on the road. */
static struct item_object *new_object(void) {
    struct item_object *oldest = &item_objects[0];
    for (uint32_t i = 0; i < ITEM_OBJECTS_MAX; i++) {
        struct item_object *thing = &item_objects[i];
        if (!thing->active) {
            return thing;
        }
        if (thing->age > oldest->age) {
            oldest = thing;
        }
    }
    return oldest;
}

/* Returns the driver one place ahead; -1 for the leader. */
static int8_t driver_ahead(uint32_t index) {
    int32_t place = game.drivers[index].place;
    return place > 0 ? game.status->driver_by_place[place - 1] : -1;
}

static void let_go(uint32_t index, enum item kind) {
    const driver *kart = &game.drivers[index];
    struct item_object *thing = new_object();
    fx32 ahead = kind == ITEM_SHELL ? DROP_DISTANCE : -DROP_DISTANCE;
    *thing = (struct item_object){
        .kind = (uint16_t)kind, .active = 1, .owner = (uint8_t)index, .heading = kart->heading,
        .target = -1, .position = v_mad(kart->position, kart->forward, ahead),
    };
    thing->position.y += FX(5);
    if (kind == ITEM_SHELL) {
        thing->target = driver_ahead(index);
        thing->velocity = v_scale(kart->forward, shell_speed[game.engine_class]);
        if (route.count) {
            uint32_t near = route_nearest(&route, thing->position);
            thing->route = (uint16_t)near;
        }
    }
}

static void hand_frame(uint32_t index) {
    struct kart *own = kart_of(&game.drivers[index]);
    driver *kart = &game.drivers[index];
    if (own->roulette && --own->roulette == 0) {
        own->item = (uint8_t)draw_item(index);
        own->item_count = 1;
    }
    if (!(own->pressed & KEY_L) || !own->item || game.status->not_controllable ||
        (kart->flags & DRIVER_FLAG_RESPAWNING) || (kart->flags2 & DRIVER_FLAG2_SPIN_OUT)) {
        return;
    }
    enum item kind = (enum item)own->item;
    if (--own->item_count == 0) {
        own->item = ITEM_NONE;
    }
    if (kind == ITEM_MUSHROOM) {
        kart_boost(kart, BOOST_MUSHROOM, MUSHROOM_FRAMES);
    } else {
        let_go(index, kind);
    }
}

/* ---- things on the road ---- */

/* Returns the next item point, past those that lie behind. */
static vec3 next_on_route(struct item_object *shell) {
    for (int i = 0; i < 3; i++) {
        uint32_t after = route_next(&route, shell->route, 0);
        vec3 here = *route_point(&route, shell->route), there = *route_point(&route, after);
        vec3 apart = v_sub(shell->position, here), way = v_sub(there, here);
        if ((int64_t)apart.x * way.x + (int64_t)apart.z * way.z < -(int64_t)FX(50) * FX(50)) {
            break;
        }
        shell->route = (uint16_t)after;
    }
    return *route_point(&route, shell->route);
}

/* Turns a shell towards its target. */
static void steer_shell(struct item_object *shell) {
    const driver *prey = &game.drivers[(uint32_t)shell->target];
    vec3 apart = v_sub(prey->position, shell->position), goal;
    if (fx_abs(apart.x) < SHELL_HOMING && fx_abs(apart.z) < SHELL_HOMING && fx_abs(apart.y) < FX(45)) {
        goal = prey->position;
    } else if (route.count) {
        goal = next_on_route(shell);
    } else {
        return;
    }
    angle16 wanted = fx_atan2(goal.x - shell->position.x, goal.z - shell->position.z);
    int32_t turn = (int16_t)(wanted - shell->heading);
    shell->heading = (angle16)(shell->heading + fx_clamp(turn, -SHELL_TURN, SHELL_TURN));
}

static void move_shell(struct item_object *shell) {
    if (shell->target >= 0) {
        steer_shell(shell);
    }
    fx32 speed = shell_speed[game.engine_class];
    shell->velocity.x = fx_mul(fx_sin(shell->heading), speed);
    shell->velocity.z = fx_mul(fx_cos(shell->heading), speed);
    shell->velocity.y = shell->on_floor ? 0 : fx_max(shell->velocity.y - GRAVITY, -FALL_LIMIT);
    int steps = 1 + speed / SHELL_STEP, landed = 0;
    vec3 centre = shell->position;
    centre.y += SHELL_RADIUS;
    vec3 move = v_make(shell->velocity.x / steps, shell->velocity.y / steps, shell->velocity.z / steps);
    for (int i = 0; i < steps; i++) {
        contact hit = {0};
        centre = v_add(centre, move);
        if (shell->on_floor) {
            centre.y -= STICK;
        }
        collide(&centre, SHELL_RADIUS, SHELL_RADIUS, &hit);
        landed = hit.on_floor;
        if (shell->on_floor && !landed) {
            centre.y += STICK;
        }
        if (hit.out_of_bounds) {
            shell->active = 0;
        }
        fx32 into = -v_dot(shell->velocity, hit.wall_normal);
        if (hit.on_wall && into > FX(0.8)) {
            if (shell->target >= 0) {
                shell->active = 0;
                break;
            }
            vec3 away = v_mad(shell->velocity, hit.wall_normal, 2 * into); /* it bounces */
            shell->heading = fx_atan2(away.x, away.z);
            break;
        }
    }
    shell->on_floor = (uint8_t)landed;
    centre.y -= SHELL_RADIUS;
    shell->position = centre;
    if (shell->age > SHELL_FRAMES) {
        shell->active = 0;
    }
}

/* A banana falls to the road and stays there. */
static void settle_banana(struct item_object *banana) {
    if (banana->on_floor) {
        return;
    }
    contact hit = {0};
    banana->velocity.y = fx_max(banana->velocity.y - GRAVITY, -FALL_LIMIT);
    vec3 centre = v_add(banana->position, banana->velocity);
    centre.y += SHELL_RADIUS;
    collide(&centre, SHELL_RADIUS, SHELL_RADIUS, &hit);
    centre.y -= SHELL_RADIUS;
    banana->position = centre;
    banana->on_floor = hit.on_floor;
    if (hit.on_floor) {
        banana->velocity = v_make(0, 0, 0);
    }
    if (hit.out_of_bounds || banana->age > SHELL_FRAMES) {
        banana->active = 0; /* no road below */
    }
}

static int near(vec3 a, vec3 b, fx32 reach) {
    vec3 apart = v_sub(a, b);
    return fx_abs(apart.x) < reach && fx_abs(apart.y) < reach && fx_abs(apart.z) < reach &&
           v_dot(apart, apart) < fx_mul(reach, reach);
}

static void hit_karts(struct item_object *thing) {
    vec3 centre = thing->position;
    centre.y += SHELL_RADIUS;
    fx32 reach = thing->kind == ITEM_SHELL ? SHELL_REACH : BANANA_REACH;
    for (uint32_t i = 0; i < race.count; i++) {
        driver *kart = &game.drivers[i];
        if ((i == thing->owner && thing->age < OWNER_SAFE_FRAMES) || !takes_part(i) ||
            !near(centre, kart->sphere_centre, reach)) {
            continue;
        }
        kart->state_bits |= DRIVER_STATE_TOUCHING_OBJECT;
        kart_spin_out(kart);
        thing->active = 0;
        return;
    }
}

/* A shell and a thing in its way both disappear. */
static void hit_things(struct item_object *shell) {
    for (uint32_t i = 0; i < ITEM_OBJECTS_MAX && shell->active; i++) {
        struct item_object *other = &item_objects[i];
        if (other->active && other != shell && near(other->position, shell->position, SHELL_REACH)) {
            other->active = shell->active = 0;
        }
    }
}

void items_frame(void) {
    for (uint32_t i = 0; i < race.count; i++) {
        game.drivers[i].state_bits &= ~(uint32_t)DRIVER_STATE_TOUCHING_OBJECT;
        hand_frame(i);
    }
    if (!game.choice.items) {
        return;
    }
    boxes_frame();
    for (uint32_t i = 0; i < ITEM_OBJECTS_MAX; i++) {
        struct item_object *thing = &item_objects[i];
        if (!thing->active) {
            continue;
        }
        if (thing->age < 0xFFFF) {
            thing->age++;
        }
        if (thing->kind == ITEM_SHELL) {
            move_shell(thing);
            hit_things(thing);
        } else {
            settle_banana(thing);
        }
        if (thing->active) {
            hit_karts(thing);
        }
    }
}
