/* The 3D picture's budget of polygons, and how to send commands. */
#pragma once

#include "race/camera.h"
#include "platform/gx.h"
#include "platform/hw.h"

/* The hardware keeps 2,048 polygons and 6,144 vertices of a picture and drops the rest. Clipping at
 * the sides of the picture adds vertices, hence the lower limit. */
#define PICTURE_POLYGONS 2048
#define PICTURE_VERTICES 5800

struct picture_size {
    uint32_t polygons, vertices;
};

/* Polygon numbers. The hardware does not draw a translucent polygon over another of the same
 * number. */
enum { POLYGON_COURSE = 1, POLYGON_KARTS = 8, POLYGON_ITEMS = 16, POLYGON_EFFECTS = 20, POLYGON_SHADOWS = 40, POLYGON_GHOST = 50 };

/* Size of the commands sent for this picture so far. */
extern struct picture_size picture_sent;

/* Items and effects leave this much to the course: the largest view of a Kartlab course. */
static const struct picture_size picture_reserve = {1000, 3000};

/* Counts a list of packed commands that starts outside of BEGIN and END. */
struct picture_size picture_count(const uint32_t *words, uint32_t count);

static inline int picture_fits(struct picture_size size) {
    return size.polygons <= PICTURE_POLYGONS && size.vertices <= PICTURE_VERTICES;
}

/* Returns whether `size` more still fits while `reserve` stays free, and books `size` if it
 * does. */
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

/* Sends words by DMA, which waits while the FIFO is full. This takes half the bus cycles of a loop,
 * and half the time of an emulator. The data must have left the data cache, which is cleaned at the
 * end of each frame. */
static inline void send_list(const uint32_t *words, uint32_t count) {
    if (count == 0) {
        return; /* the DMA reads 0 as 2^21 */
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

/* Slot of the matrix stack that holds the view matrix, from draw_karts to draw_course. */
#define VIEW_MATRIX_SLOT 29
