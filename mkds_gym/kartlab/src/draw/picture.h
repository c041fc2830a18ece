/* What the parts of the 3D picture share: sending, counting, and the order of drawing. */
#ifndef KARTLAB_PICTURE_H
#define KARTLAB_PICTURE_H

#include "race/camera.h"
#include "platform/gx.h"
#include "platform/hw.h"

/* The machine keeps 2,048 polygons and 6,144 vertices of a picture and silently drops the rest.
 * Clipping at the picture's sides adds vertices, hence the distance to that limit. */
#define PICTURE_POLYGONS 2048
#define PICTURE_VERTICES 5800

struct picture_size {
    uint32_t polygons, vertices;
};

/* Polygon numbers: opaque things do not care; of translucent ones, the machine draws none over
 * another of the same number. */
enum { POLYGON_COURSE = 1, POLYGON_KARTS = 8, POLYGON_ITEMS = 16, POLYGON_EFFECTS = 20, POLYGON_SHADOWS = 40, POLYGON_GHOST = 50 };

/* What was sent of this picture so far. */
extern struct picture_size picture_sent;

/* The course's own part, which items and effects leave alone: the worst view of a course of our own
 * in full takes as much. */
static const struct picture_size picture_reserve = {1000, 3000};

/* Counts a list of packed commands that begins outside of BEGIN and END. */
struct picture_size picture_count(const uint32_t *words, uint32_t count);

static inline int picture_fits(struct picture_size size) {
    return size.polygons <= PICTURE_POLYGONS && size.vertices <= PICTURE_VERTICES;
}

/* Whether that much more still fits, with `reserve` left to those who come later; books it. */
static inline int picture_takes(struct picture_size size, struct picture_size reserve) {
    size.polygons += picture_sent.polygons;
    size.vertices += picture_sent.vertices;
    reserve.polygons += size.polygons;
    reserve.vertices += size.vertices;
    if (!picture_fits(reserve)) {
        return 0;
    }
    picture_sent = size;
    return 1;
}

/* By DMA, which the FIFO port stalls when it is full: half the bus cycles of a loop of the CPU's, and
 * half the time in an emulator, which sees one event where it would see one a word. The lists are
 * written before the race and cleaned out of the data cache at the end of each frame. */
static inline void send_list(const uint32_t *words, uint32_t count) {
    if (count == 0) {
        return; /* to the DMA, none is 2^21 */
    }
    HW_DMA_SOURCE(3) = (uint32_t)words;
    HW_DMA_DESTINATION(3) = (uint32_t)&GX_FIFO;
    HW_DMA_CONTROL(3) = HW_DMA_START | HW_DMA_WORDS | HW_DMA_SAME_DESTINATION | count;
    while (HW_DMA_CONTROL(3) & HW_DMA_START) {
    }
}

static inline void send_matrix_4x3(uint32_t command, const struct view_matrix *m) {
    GX_FIFO = command;
    for (int row = 0; row < 4; row++) {
        for (int column = 0; column < 3; column++) {
            GX_FIFO = (uint32_t)m->m[row][column];
        }
    }
}

static inline void send_1(uint32_t command, uint32_t data) {
    GX_FIFO = command;
    GX_FIFO = data;
}

static inline void send_scale(fx32 scale) {
    GX_FIFO = GX_MTX_SCALE;
    GX_FIFO = (uint32_t)scale;
    GX_FIFO = (uint32_t)scale;
    GX_FIFO = (uint32_t)scale;
}

/* Place in the stack of matrices where the view matrix lies from lights_on() to the course. */
#define VIEW_MATRIX_SLOT 29

#endif
