/* The 3D picture: geometry engine set-up, view culling, course, shadow, kart. */
#include "draw.h"

#include "camera.h"
#include "fx.h"
#include "game.h"
#include "gx.h"
#include "hw.h"
#include "kart_model.h"
#include "memory_map.h"
#include "sky.h"

/* ---- course_model.klm, written by the course compiler ---- */

struct klm_chunk {
    fx32 centre[3]; /* world units */
    fx32 radius;
    uint32_t offset; /* of the packed commands, from the start of the file */
    uint32_t words;
    uint32_t far_words; /* of a plainer list behind the other one, 0: none */
};

struct klm {
    char magic[4]; /* "KLM2" */
    uint32_t chunk_count;
    uint32_t fine_count; /* these come first */
    uint32_t sky_top;
    uint32_t sky_bottom;
    struct klm_chunk chunks[];
};

#define KLM_FINE_SHIFT 4   /* model space of fine chunks is world units / 16, */
#define KLM_COARSE_SHIFT 8 /* of the others / 256 */
#define KLM_MATRIX_SLOT 30 /* lists restore the matrix from here before they move it */
#define CHUNKS_MAX 512
/* A vertex takes a word and a quarter: this many words stay below 6,144 vertices with the kart's
 * own eight hundred on top. */
#define COURSE_WORDS_MAX 6500
#define FAR_DETAIL FX(200) /* chunks that begin this far away are drawn plainly */

static const struct klm *model;
uint16_t draw_sky_top = RGB15(9, 17, 30), draw_sky_bottom = RGB15(24, 29, 31);

/* ---- sending ---- */

/* By DMA, which the FIFO port stalls when it is full: half the bus cycles of a loop of the CPU's, and
 * half the time in an emulator, which sees one event where it would see one a word. The lists are
 * written before the race and cleaned out of the data cache at the end of each frame. */
static void send(const uint32_t *words, uint32_t count) {
    if (count == 0) {
        return; /* to the DMA, none is 2^21 */
    }
    HW_DMA_SOURCE(3) = (uint32_t)words;
    HW_DMA_DESTINATION(3) = (uint32_t)&GX_FIFO;
    HW_DMA_CONTROL(3) = HW_DMA_START | HW_DMA_WORDS | HW_DMA_SAME_DESTINATION | count;
    while (HW_DMA_CONTROL(3) & HW_DMA_START) {
    }
}

static void send_matrix_4x3(uint32_t command, const struct view_matrix *m) {
    GX_FIFO = command;
    for (int row = 0; row < 4; row++) {
        for (int column = 0; column < 3; column++) {
            GX_FIFO = (uint32_t)m->m[row][column];
        }
    }
}

static void send_1(uint32_t command, uint32_t data) {
    GX_FIFO = command;
    GX_FIFO = data;
}

static void send_scale(fx32 scale) {
    GX_FIFO = GX_MTX_SCALE;
    GX_FIFO = (uint32_t)scale;
    GX_FIFO = (uint32_t)scale;
    GX_FIFO = (uint32_t)scale;
}

/* ---- lights and texture ---- */

/* Directions the light travels, world space, as NORMAL's 1.0.9 components. */
#define LIGHT_DIRECTION(x, y, z) (((uint32_t)(x) & 0x3FF) | ((uint32_t)(y) & 0x3FF) << 10 | ((uint32_t)(z) & 0x3FF) << 20)
#define SUN LIGHT_DIRECTION(-220, -430, 160)
#define SKY_LIGHT LIGHT_DIRECTION(200, -300, -360)

/* A grain for every surface, laid over the world in the xz plane by the texture unit itself
 * (coordinates from the vertex position), so that the ground is seen to move. */
#define GRAIN_SIZE 64
#define GRAIN_TEXEL_WORLD 2 /* world units a texel */
/* 7: direct colour; 64 x 64; repeat both; coordinates from vertices; at video memory 0. */
#define GRAIN_PARAM (7u << 26 | 3u << 20 | 3u << 23 | 1u << 16 | 1u << 17 | 3u << 30)

static void grain_init(void) {
    volatile uint16_t *bank = (volatile uint16_t *)0x06800000; /* bank A while it is mapped for us */
    GX_VRAMCNT(0) = 0x80;
    /* A lattice of hashed values, smoothed once, plus finer speckle: seamless as indices wrap. */
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
            value = per_axis / 2; /* height joins both: walls get a grain too, not streaks */
        } else if (i == 15) {
            value = FX_ONE;
        }
        GX_FIFO = (uint32_t)value;
    }
}

/* ---- set-up ---- */

void draw_init(const void *klm, uint32_t klm_size) {
    (void)klm_size;
    model = klm;
    if (model) {
        draw_sky_top = (uint16_t)model->sky_top;
        draw_sky_bottom = (uint16_t)model->sky_bottom;
    }
    GX_POWCNT = 0x820F; /* LCDs, both 2D engines, 3D; main engine on the top screen */
    grain_init();
    GX_VRAMCNT(1) = 0x81; /* B: main background */
    GX_VRAMCNT(2) = 0x84; /* C: sub background */
    GX_VRAMCNT(3) = 0x84; /* D: sub sprites */
    GX_VRAMCNT(4) = 0x82; /* E: main sprites */

    /* 3D as background 0, the sky behind it as background 3 (extended, so mode 3),
     * sprites (letters) in front of both, named in steps of 128 bytes. */
    GX_DISPCNT(GX_MAIN) = 1u << 16 | 2u << 20 | 1u << 12 | 9u << 8 | 1u << 4 | 1u << 3 | 3u;
    GX_BGCNT(GX_MAIN, 0) = 1;
    sky_init(draw_sky_top, draw_sky_bottom);

    GX_DISP3DCNT = 1 << 0 | 1 << 3 | 1 << 4; /* textures, blending, anti-aliasing */
    GX_CLEAR_COLOR = 63u << 24;                       /* transparent: the sky is a background behind */
    GX_CLEAR_DEPTH = 0x7FFF;
    kart_model_init();

    GX_FIFO = GX_PACK(GX_VIEWPORT, 0, 0, 0);
    GX_FIFO = 0u | 0u << 8 | 255u << 16 | 191u << 24;
}

/* ---- a frame ---- */

static struct {
    uint16_t index;
    fx32 depth;
} visible[CHUNKS_MAX];

/* Chunks whose sphere touches the view, nearest first. */
static uint32_t cull(const struct view *view) {
    uint32_t count = 0, total = model->chunk_count < CHUNKS_MAX ? model->chunk_count : CHUNKS_MAX;
    for (uint32_t i = 0; i < total; i++) {
        const struct klm_chunk *chunk = &model->chunks[i];
        fx32 depth = view_depth(view, chunk->centre);
        if (!view_sees(view, chunk->centre, chunk->radius)) {
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

static void draw_course(const struct view *view) {
    send_1(GX_TEXIMAGE_PARAM, GRAIN_PARAM);
    send_1(GX_POLYGON_ATTR, GX_FRONT_FACES | GX_FAR_CLIPPED | GX_ALPHA(31) | GX_POLYGON_ID(1));
    uint32_t count = cull(view), words = 0;
    /* The few coarse chunks first: they lie under everything, and none may be dropped. */
    send_course_matrix(view, KLM_COARSE_SHIFT);
    for (uint32_t i = 0; i < count; i++) {
        const struct klm_chunk *chunk = &model->chunks[visible[i].index];
        if (visible[i].index >= model->fine_count) {
            words += chunk->words;
            send((const uint32_t *)((const char *)model + chunk->offset), chunk->words);
        }
    }
    send_course_matrix(view, KLM_FINE_SHIFT);
    send_1(GX_MTX_STORE, KLM_MATRIX_SLOT);
    for (uint32_t i = 0; i < count; i++) {
        const struct klm_chunk *chunk = &model->chunks[visible[i].index];
        if (visible[i].index >= model->fine_count) {
            continue;
        }
        const uint32_t *list = (const uint32_t *)((const char *)model + chunk->offset);
        uint32_t length = chunk->words;
        if (chunk->far_words && visible[i].depth - chunk->radius > FAR_DETAIL) {
            list += length;
            length = chunk->far_words;
        }
        if (words + length > COURSE_WORDS_MAX) {
            break; /* nearest first: what is dropped is far away */
        }
        words += length;
        send(list, length);
    }
    send_1(GX_TEXIMAGE_PARAM, 0);
}

/* ---- the kart ---- */

static struct kart_pose {
    struct view_matrix body, driver, wheel[4], shadow;
} pose;
static angle16 roll[2];   /* of the front and the rear wheels */
static fx32 steering;     /* shown, -1 right to 1 left */
static uint32_t shaking;

/* A rotation by `angle` in the plane of rows a and b of the unit matrix. */
static struct view_matrix turned(int a, int b, angle16 angle, const struct kart_pivot *at) {
    struct view_matrix m = {{{FX_ONE, 0, 0}, {0, FX_ONE, 0}, {0, 0, FX_ONE}, {at->x, at->y, at->z}}};
    m.m[a][a] = m.m[b][b] = fx_cos(angle);
    m.m[a][b] = fx_sin(angle);
    m.m[b][a] = -m.m[a][b];
    return m;
}

/* first, then second: rotations only, the second's translation stays. */
static struct view_matrix joined(const struct view_matrix *first, const struct view_matrix *second) {
    struct view_matrix out = *second;
    for (int r = 0; r < 3; r++) {
        for (int c = 0; c < 3; c++) {
            out.m[r][c] = fx_mul(first->m[r][0], second->m[0][c]) + fx_mul(first->m[r][1], second->m[1][c]) +
                          fx_mul(first->m[r][2], second->m[2][c]);
        }
    }
    return out;
}

static void pose_update(const driver *kart) {
    steering += (kart->turning - steering) / 4;
    for (int i = 0; i < 2; i++) {
        /* a turn is 2 pi r: 65536 / (2 pi) = 10430 angle16 a radian */
        roll[i] = (angle16)(roll[i] + fx_div(kart->speed, kart_wheel_radius[i]) * 10430 / FX_ONE);
    }
    const fx32(*m)[3] = kart->matrix;
    struct view_matrix place;
    for (int c = 0; c < 3; c++) {
        /* the model's x runs right and its z backwards */
        place.m[0][c] = -m[0][c];
        place.m[1][c] = m[1][c];
        place.m[2][c] = -m[2][c];
    }
    place.m[3][0] = kart->position.x;
    place.m[3][1] = kart->position.y;
    place.m[3][2] = kart->position.z;
    pose.shadow = place;
    pose.shadow.m[3][1] += FX(0.3);
    /* Off the road the kart is shaken, the more the faster. */
    uint32_t type = kart->floor_type;
    if ((type == 2 || type == 3 || type == 5) && kart->state_bits & DRIVER_ON_FLOOR) {
        shaking++;
        place.m[3][1] += fx_mul(fx_min(fx_abs(kart->speed), FX(3)), fx_sin((angle16)(shaking * 0x3700))) / 8 + FX(0.3);
    }
    const struct kart_pivot origin = {0, 0, 0};
    struct view_matrix lean = turned(0, 1, (angle16)(-fx_mul(steering, fx_min(fx_abs(kart->speed), FX(4))) / 11), &origin);
    pose.body = joined(&lean, &place);
    struct view_matrix steer_head = turned(2, 0, (angle16)(steering * 3 / 4), &origin);
    pose.driver = steer_head;
    for (int i = 0; i < 4; i++) {
        struct view_matrix spin = turned(1, 2, (angle16)-roll[i >> 1], &origin);
        struct view_matrix steer = turned(2, 0, i < 2 ? (angle16)(steering + steering / 4) : 0, &kart_wheel_pivot[i]);
        pose.wheel[i] = joined(&spin, &steer);
    }
}

static void draw_part(int part) { send(kart_parts[part].words, kart_parts[part].count); }

static void draw_shadow(const struct view *view) {
    /* Three discs of growing size, each a little darker where they overlap: a soft edge. */
    for (uint32_t ring = 0; ring < 3; ring++) {
        struct view_matrix place = pose.shadow;
        send_1(GX_MTX_MODE, GX_MODE_POSITION);
        send_matrix_4x3(GX_MTX_LOAD_4X3, &view->matrix);
        send_matrix_4x3(GX_MTX_MULT_4X3, &place);
        send_scale((fx32)(FX_ONE * KART_MODEL_SCALE * (14 - 2 * ring) / 12));
        send_1(GX_COLOR, 0);
        send_1(GX_POLYGON_ATTR, GX_FRONT_FACES | GX_BACK_FACES | GX_ALPHA(6) | GX_POLYGON_ID(40 + ring));
        draw_part(KART_SHADOW);
    }
}

static void draw_kart(const struct view *view) {
    send_1(GX_MTX_MODE, GX_MODE_POSITION_VECTOR);
    send_matrix_4x3(GX_MTX_LOAD_4X3, &view->matrix);
    send_1(GX_LIGHT_VECTOR, SUN);
    send_1(GX_LIGHT_VECTOR, 1u << 30 | SKY_LIGHT);
    send_1(GX_LIGHT_COLOR, RGB15(29, 28, 25));
    send_1(GX_LIGHT_COLOR, 1u << 30 | RGB15(9, 10, 13));
    send_1(GX_SPE_EMI, 0);
    send_1(GX_POLYGON_ATTR, GX_LIGHTS(3) | GX_FRONT_FACES | GX_ALPHA(31) | GX_POLYGON_ID(8));
    send_matrix_4x3(GX_MTX_MULT_4X3, &pose.body);
    GX_FIFO = GX_MTX_PUSH;
    send_scale(FX_ONE * KART_MODEL_SCALE);
    draw_part(KART_BODY);
    send_1(GX_MTX_POP, 1);
    for (int i = 0; i < 4; i++) {
        GX_FIFO = GX_MTX_PUSH;
        send_matrix_4x3(GX_MTX_MULT_4X3, &pose.wheel[i]);
        send_scale(FX_ONE * KART_MODEL_SCALE);
        draw_part(KART_WHEEL + i);
        send_1(GX_MTX_POP, 1);
    }
    send_matrix_4x3(GX_MTX_MULT_4X3, &pose.driver);
    send_scale(FX_ONE * KART_MODEL_SCALE);
    draw_part(KART_DRIVER);
}

void draw_frame(void) {
    const struct view *view = camera_view();
    pose_update(&game.drivers[0]);
    send_1(GX_MTX_MODE, GX_MODE_PROJECTION);
    GX_FIFO = GX_MTX_LOAD_4X4;
    for (int row = 0; row < 4; row++) {
        for (int column = 0; column < 4; column++) {
            GX_FIFO = (uint32_t)view->projection[row][column];
        }
    }
    draw_kart(view);
    if (model) {
        draw_course(view);
    }
    draw_shadow(view);

    if (PROFILE_BLOCK->magic == PROFILE_MAGIC) {
        /* Wait until the engine has eaten its FIFO, so that the counts are those of this picture;
         * only when asked, as the waiting is a seventh of what a frame costs an emulator. */
        for (int turn = 0; turn < 20000 && (GX_STAT & 1u << 27); turn++) {
        }
        uint32_t count = GX_RAM_COUNT;
        PICTURE_LOAD = (count & 0xFFF) | (count >> 16 & 0x1FFF) << 16;
    }
    send_1(GX_SWAP_BUFFERS, 1u << 1); /* W-buffering; translucent polygons sorted by the machine */
}
