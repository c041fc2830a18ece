/* Items: boxes on the course, what comes out of them, and what has been let go on the road. */
#ifndef KARTLAB_ITEMS_H
#define KARTLAB_ITEMS_H

#include "platform/fx.h"

enum item { ITEM_NONE, ITEM_MUSHROOM, ITEM_SHELL, ITEM_BANANA };
#define ROULETTE_FRAMES 90

/* A thing on the road.  In the object table from slot DRIVERS_MAX + item_box_count on. */
struct item_object {
    uint16_t kind;             /* enum item: shell or banana */
    uint8_t active;            /* 0: not there, its entry is removed */
    uint8_t owner;             /* driver who let it go */
    uint16_t age;              /* frames */
    int8_t target;             /* driver a shell follows, -1 none */
    uint8_t on_floor;
    vec3 position, velocity;   /* where it touches the road; world units a frame */
    angle16 heading;
    uint16_t route;            /* next item point of a shell's way */
};
enum { ITEM_OBJECTS_MAX = 24 };
extern struct item_object item_objects[ITEM_OBJECTS_MAX];

/* A box of the course.  It begins with its object id as every map object does. */
struct item_box {
    int16_t id;                /* OBJECT_ITEM_BOX */
    uint16_t hidden_frames;    /* until it is back after somebody took it */
    vec3 position;             /* of its middle */
};
enum { ITEM_BOXES_MAX = 96 };
extern struct item_box item_boxes[ITEM_BOXES_MAX];
extern uint32_t item_box_count;

#define ITEM_BOX_RADIUS FX(9.0)
#define ITEM_OBJECT_RADIUS FX(5.0)

void items_init(void);
void items_frame(void);

#endif
