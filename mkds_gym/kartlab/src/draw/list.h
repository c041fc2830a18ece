/* Display lists that the program builds itself, at the start: what moves is small and is made of
 * few shapes, so it is described here rather than stored. */
#ifndef KARTLAB_LIST_H
#define KARTLAB_LIST_H

#include "draw/picture.h"

/* Words for the GX FIFO, to be sent after the matrix and the polygon attributes. */
struct display_list {
    uint32_t *words;
    uint32_t count;
    struct picture_size size;
};

/* Sixteenths of a world unit, none above 511: a vertex takes one word, VTX_10, where 1.0 is
 * LIST_SCALE world units. */
typedef struct {
    int16_t x, y, z;
} point;
#define LIST_SCALE 4

void lists_init(void); /* forgets all lists */
void list_start(struct display_list *list);
void list_end(struct display_list *list);

void list_begin(uint32_t kind); /* GX_QUADS, ... */
void list_vertex(point p);
void list_colour(uint16_t colour);   /* without lights */
void list_material(uint16_t colour); /* with lights: diffuse the colour itself, ambient a part of it */

/* With its flat normal; the corners run anticlockwise seen from outside. */
void list_quad(point a, point b, point c, point d);

/* A quad strip through pairs of points, the left one first when seen from outside and along the
 * strip.  Each pair has the normal of the face that follows it. */
void list_strip(const point (*pairs)[2], int count);

/* A box whose top may be smaller than its bottom and pushed along z (tapered, leaning); only the
 * faces that can be seen are built.  Within GX_QUADS. */
enum { BOX_TOP = 1, BOX_BACK = 2, BOX_FRONT = 4, BOX_RIGHT = 8, BOX_LEFT = 16, BOX_SIDES = BOX_RIGHT | BOX_LEFT };
void list_box(int faces, int x0, int x1, int y0, int y1, int z0, int z1, int taper, int lean);

/* Sine in sixteenths of a turn, 256 = 1: enough for every lathe here. */
extern const int16_t list_sine16[16];

static inline void list_send(const struct display_list *list) { send_list(list->words, list->count); }

#endif
