/* Items: boxes on the course, items in hand, and things on the road. */
#pragma once

#include "platform/fx.h"

enum item { ITEM_NONE, ITEM_MUSHROOM, ITEM_SHELL, ITEM_BANANA };
#define ROULETTE_FRAMES 90

/* A thing on the road. Its slot in the object table is DRIVERS_MAX + item_box_count + its index. */
struct item_object {
    uint16_t kind;             /* enum item: shell or banana */
    uint8_t active;            /* 0: removed */
    uint8_t owner;             /* driver who dropped it */
    uint16_t age;              /* frames */
    int8_t target;             /* driver that a shell follows, -1: none */
    uint8_t on_floor;
    vec3 position, velocity;   /* the point on the road; world units a frame */
    angle16 heading;
    uint16_t route;            /* next item point of a shell */
};
enum { ITEM_OBJECTS_MAX = 24 };
extern struct item_object item_objects[ITEM_OBJECTS_MAX];

/* A box of the course. Every map object starts with its object id. */
struct item_box {
    int16_t id;                /* OBJECT_ITEM_BOX */
    uint16_t hidden_frames;    /* until it appears again */
    vec3 position;             /* of its centre */
};
enum { ITEM_BOXES_MAX = 96 };
extern struct item_box item_boxes[ITEM_BOXES_MAX];
extern uint32_t item_box_count;

#define ITEM_BOX_RADIUS FX(14.0)
#define ITEM_OBJECT_RADIUS FX(7.0)

void items_init(void);
void items_frame(void);
