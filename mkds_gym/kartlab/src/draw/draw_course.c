/* Chunks out of view are skipped; the others are drawn from near to far. */
#include "draw/draw_course.h"

#include "draw/picture.h"
#include "game.h"
#include "platform/fx.h"

struct klm_chunk {
    fx32 centre[3]; /* world units */
    fx32 radius;
    uint32_t offset; /* of the packed commands, from the start of the file */
    uint32_t words;
    uint32_t far_words; /* of the simpler list that follows; 0 without one */
};

struct klm {
    char magic[4]; /* "KLM4" */
    uint32_t chunk_count;
    uint32_t fine_count; /* these come first */
    struct sky_colours beyond;
    struct klm_chunk chunks[];
};

#define KLM_FINE_SHIFT 5    /* fine chunks are in world units / 32 */
#define KLM_COARSE_SHIFT 10 /* coarse chunks are in world units / 1,024 */
#define KLM_MATRIX_SLOT 30 /* lists restore the matrix from this slot */
#define CHUNKS_MAX 1024 /* the compiler's limit of 5,000 triangles gives fewer */
#define FAR_DETAIL FX(300) /* chunks farther away than this use their simpler list */

static const struct klm *model;
static struct {
    struct picture_size near, far;
} sizes[CHUNKS_MAX];
struct sky_colours draw_sky;

/* A grain texture on every surface makes movement visible. The texture unit takes
 * its coordinates from the vertex positions in the xz plane. */
#define GRAIN_SIZE 64
#define GRAIN_TEXEL_WORLD 4 /* world units per texel */
/* 7: direct colour; 64 x 64; repeat both; coordinates from vertices; at video memory 0. */
#define GRAIN_PARAM (7u << 26 | 3u << 20 | 3u << 23 | 1u << 16 | 1u << 17 | 3u << 30)

static void grain_init(void) {
    volatile uint16_t *bank = (volatile uint16_t *)0x06800000; /* bank A while the CPU has it mapped */
    GX_VRAMCNT(0) = 0x80;
    /* A smoothed lattice of hashed values plus finer speckle. Indices wrap, so the texture
     * tiles. */
    for (uint32_t y = 0; y < GRAIN_SIZE; y++) {
        for (uint32_t x = 0; x < GRAIN_SIZE; x++) {
            uint32_t coarse = 0;
            for (uint32_t corner = 0; corner < 4; corner++) {
                uint32_t cx = ((x >> 3) + (corner & 1)) & 7, cy = ((y >> 3) + (corner >> 1)) & 7;
                uint32_t weight_x = corner & 1 ? x & 7 : 8 - (x & 7), weight_y = corner >> 1 ? y & 7 : 8 - (y & 7);
                uint32_t hash = (cx * 0x9E37u + cy * 0x85EBu + 0x1234u) * 0x045D9F3Bu;
                coarse += (hash >> 27 & 15) * weight_x * weight_y;
            }
            coarse >>= 6; /* 0..15 */
            uint32_t fine = ((x * 0x27D4u + y * 0x1656u) * 0x9E3779B1u) >> 28 & 7;
            uint32_t grey = 31 - (coarse + fine) / 4; /* 26..31 */
            if (((x * 0x58F1u ^ y * 0x3A07u) * 0x2545F491u) >> 27 == 0) {
                grey -= 3;
            }
            bank[y * GRAIN_SIZE + x] = (uint16_t)(0x8000 | RGB15(grey, grey, grey));
        }
    }
    GX_VRAMCNT(0) = 0x83; /* texture slot 0 */
}

static const uint32_t *commands(const struct klm_chunk *chunk) {
    return (const uint32_t *)((const char *)model + chunk->offset);
}

void draw_course_init(const void *klm) {
    model = klm;
    draw_sky = (struct sky_colours){RGB15(6, 15, 27), RGB15(23, 27, 30), RGB15(10, 20, 25), RGB15(4, 12, 22),
                                    RGB15(9, 18, 13), RGB15(31, 31, 31)};
    grain_init();
    if (!model) {
        return;
    }
    draw_sky = model->beyond;
    for (uint32_t i = 0; i < model->chunk_count && i < CHUNKS_MAX; i++) {
        const struct klm_chunk *chunk = &model->chunks[i];
        sizes[i].near = picture_count(commands(chunk), chunk->words);
        sizes[i].far = picture_count(commands(chunk) + chunk->words, chunk->far_words);
    }
}

static void send_texture_matrix(uint32_t scale_shift) {
    /* s = 16 * texels; the unit shifts the product by 24 bits. */
    const int32_t per_axis = ((16 << scale_shift) / GRAIN_TEXEL_WORLD) << 12;
    send_1(GX_MTX_MODE, GX_MODE_TEXTURE);
    GX_FIFO = GX_MTX_LOAD_4X4;
    for (int i = 0; i < 16; i++) {
        int32_t value = 0;
        if (i == 0 || i == 9) {
            value = per_axis; /* s from x, t from z */
        } else if (i == 4 || i == 5) {
            value = per_axis / 2; /* height adds to both: walls get a grain instead of streaks */
        } else if (i == 15) {
            value = FX_ONE;
        }
        GX_FIFO = (uint32_t)value;
    }
}

static struct {
    uint16_t index;
    fx32 depth;
} visible[CHUNKS_MAX];

/* Lists the chunks whose sphere touches the view, from near to far. */
static uint32_t cull(const struct view *view) {
    uint32_t count = 0, total = model->chunk_count < CHUNKS_MAX ? model->chunk_count : CHUNKS_MAX;
    for (uint32_t i = 0; i < total; i++) {
        const struct klm_chunk *chunk = &model->chunks[i];
        fx32 depth = view_depth(view, chunk->centre);
        if (!view_sees_at(view, chunk->centre, chunk->radius, depth)) {
            continue;
        }
        uint32_t at = count++;
        while (at > 0 && visible[at - 1].depth > depth) {
            visible[at] = visible[at - 1];
            at--;
        }
        visible[at].index = (uint16_t)i;
        visible[at].depth = depth;
    }
    return count;
}

static void send_course_matrix(const struct view *view, uint32_t scale_shift) {
    struct view_matrix scaled = view->matrix;
    for (int row = 0; row < 3; row++) {
        for (int column = 0; column < 3; column++) {
            scaled.m[row][column] <<= scale_shift;
        }
    }
    send_texture_matrix(scale_shift);
    send_1(GX_MTX_MODE, GX_MODE_POSITION);
    send_matrix_4x3(GX_MTX_LOAD_4X3, &scaled);
}

void draw_course(const struct view *real_view) {
    const struct picture_size none = {0, 0};
    struct view mirrored;
    const struct view *view = real_view;
    if (!model) {
        return;
    }
    uint32_t faces = GX_FRONT_FACES;
    if (game.choice.mirror) {
        /* The mirrored view swaps the winding of the faces. */
        mirrored = *real_view;
        for (int column = 0; column < 3; column++) {
            mirrored.matrix.m[0][column] = -mirrored.matrix.m[0][column];
        }
        view = &mirrored;
        faces = GX_BACK_FACES;
    }
    send_1(GX_TEXIMAGE_PARAM, GRAIN_PARAM);
    send_1(GX_POLYGON_ATTR, faces | GX_FAR_CLIPPED | GX_ALPHA(31) | GX_POLYGON_ID(POLYGON_COURSE));
    uint32_t count = cull(view);
    /* The few coarse chunks come first: they lie under everything, and the picture needs all of
     * them. */
    send_course_matrix(view, KLM_COARSE_SHIFT);
    for (uint32_t i = 0; i < count; i++) {
        const struct klm_chunk *chunk = &model->chunks[visible[i].index];
        if (visible[i].index >= model->fine_count && picture_takes(sizes[visible[i].index].near, none)) {
            send_list(commands(chunk), chunk->words);
        }
    }
    send_course_matrix(view, KLM_FINE_SHIFT);
    send_1(GX_MTX_STORE, KLM_MATRIX_SLOT);
    for (uint32_t i = 0; i < count; i++) {
        const struct klm_chunk *chunk = &model->chunks[visible[i].index];
        if (visible[i].index >= model->fine_count) {
            continue;
        }
        int far = chunk->far_words && visible[i].depth - chunk->radius > FAR_DETAIL;
        if (!picture_takes(far ? sizes[visible[i].index].far : sizes[visible[i].index].near, none)) {
            break; /* from near to far: only distant chunks are dropped */
        }
        send_list(commands(chunk) + (far ? chunk->words : 0), far ? chunk->far_words : chunk->words);
    }
    send_1(GX_TEXIMAGE_PARAM, 0);
}
