#include "draw/draw.h"

#include "draw/draw_course.h"
#include "draw/draw_effects.h"
#include "draw/draw_items.h"
#include "draw/draw_karts.h"
#include "draw/list.h"
#include "draw/picture.h"
#include "draw/sky.h"
#include "platform/memory_map.h"

void draw_init(const void *klm) {
    GX_POWCNT = 0x820F; /* power for LCDs, both 2D engines and 3D; the main engine drives the top screen */
    draw_course_init(klm);
    GX_VRAMCNT(1) = 0x81; /* B: main background */
    GX_VRAMCNT(2) = 0x84; /* C: sub background */
    GX_VRAMCNT(3) = 0x84; /* D: sub sprites */
    GX_VRAMCNT(4) = 0x82; /* E: main sprites */

    /* Background 0 is the 3D picture, background 3 the sky behind it (extended, hence mode 3).
     * Sprites (letters) lie in front; their names count in steps of 128 bytes. */
    GX_DISPCNT(GX_MAIN) = 1u << 16 | 2u << 20 | 1u << 12 | 9u << 8 | 1u << 4 | 1u << 3 | 3u;
    GX_BGCNT(GX_MAIN, 0) = 1;
    /* The scroll registers also move the 3D picture. */
    GX_BGHOFS(GX_MAIN, 0) = 0;
    GX_BGVOFS(GX_MAIN, 0) = 0;
    sky_init(&draw_sky);

    GX_DISP3DCNT = 1 << 0 | 1 << 3 | 1 << 4; /* textures, blending, anti-aliasing */
    GX_CLEAR_COLOR = 63u << 24;                       /* transparent: the sky shows through */
    GX_CLEAR_DEPTH = 0x7FFF;
    lists_init();
    draw_karts_init();
    draw_items_init();
    draw_effects_init();

    GX_FIFO = GX_PACK(GX_VIEWPORT, 0, 0, 0);
    GX_FIFO = 0u | 0u << 8 | 255u << 16 | 191u << 24;
}

void draw_frame(void) {
    const struct view *view = camera_view();
    picture_sent = (struct picture_size){0, 0};
    send_1(GX_MTX_MODE, GX_MODE_PROJECTION);
    GX_FIFO = GX_MTX_LOAD_4X4;
    for (int row = 0; row < 4; row++) {
        for (int column = 0; column < 4; column++) {
            GX_FIFO = (uint32_t)view->projection[row][column];
        }
    }
    /* Moving things are sent first but leave the course its share: a full picture drops the
     * farthest parts of the course. The hardware draws opaque polygons before translucent ones in
     * any order. */
    draw_karts(view);
    draw_items(view);
    draw_course(view);

    if (PROFILE_BLOCK->magic == PROFILE_MAGIC) {
        /* Wait until the engine has processed its FIFO, to count this picture. Only while
         * profiling: the wait takes a seventh of an emulator's time for a frame. */
        for (int turn = 0; turn < 20000 && (GX_STAT & 1u << 27); turn++) {
        }
        uint32_t count = GX_RAM_COUNT;
        PICTURE_LOAD = (count & 0xFFF) | (count >> 16 & 0x1FFF) << 16;
        PICTURE_BOOKED = picture_sent.polygons | picture_sent.vertices << 16;
    }
    send_1(GX_SWAP_BUFFERS, 1u << 1); /* W-buffering; the hardware sorts translucent polygons */
}
