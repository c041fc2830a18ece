#include "draw/list.h"

#define POOL_WORDS 4096
static uint32_t pool[POOL_WORDS];
static uint32_t pool_used;

/* Four commands share a word; their data follow. */
static uint32_t *command_word;
static uint32_t command_slot;

const int16_t list_sine16[16] = {0, 98, 181, 237, 256, 237, 181, 98, 0, -98, -181, -237, -256, -237, -181, -98};

void lists_init(void) { pool_used = 0; }

void list_start(struct display_list *list) {
    list->words = pool + pool_used;
    command_slot = 4;
}

static void command(uint32_t number) {
    if (command_slot == 4) {
        command_word = pool + pool_used++;
        *command_word = 0;
        command_slot = 0;
    }
    *command_word |= number << (8 * command_slot++);
}

static void data(uint32_t word) { pool[pool_used++] = word; }

void list_end(struct display_list *list) {
    /* The hardware needs no END_VTXS. The free slots of the last word stay NOPs. */
    command_slot = 4;
    list->count = (uint32_t)(pool + pool_used - list->words);
    list->size = picture_count(list->words, list->count);
}

void list_begin(uint32_t kind) {
    command(GX_BEGIN_VTXS);
    data(kind);
}

void list_vertex(point p) {
    command(GX_VTX_10);
    data(((uint32_t)p.x & 0x3FF) | ((uint32_t)p.y & 0x3FF) << 10 | ((uint32_t)p.z & 0x3FF) << 20);
}

void list_colour(uint16_t colour) {
    command(GX_COLOR);
    data(colour);
}

static uint16_t shade(uint16_t colour, uint32_t sixteenths) {
    uint32_t r = (colour & 31) * sixteenths >> 4;
    uint32_t g = (colour >> 5 & 31) * sixteenths >> 4;
    uint32_t b = (colour >> 10 & 31) * sixteenths >> 4;
    return RGB15(r, g, b);
}

/* Ambient is a part of diffuse, so shaded sides keep their hue. */
void list_material(uint16_t colour) {
    command(GX_DIF_AMB);
    data(colour | (uint32_t)shade(colour, 9) << 16);
}

static uint32_t square_root(uint32_t value) {
    uint32_t root = 0;
    for (uint32_t bit = 1u << 15; bit; bit >>= 1) {
        uint32_t trial = root | bit;
        if (trial * trial <= value) {
            root = trial;
        }
    }
    return root;
}

static void normal(int32_t x, int32_t y, int32_t z) {
    command(GX_NORMAL);
    data(((uint32_t)x & 0x3FF) | ((uint32_t)y & 0x3FF) << 10 | ((uint32_t)z & 0x3FF) << 20);
}

static void flat_normal(point a, point b, point c, point d) {
    int32_t ux = c.x - a.x, uy = c.y - a.y, uz = c.z - a.z;
    int32_t vx = d.x - b.x, vy = d.y - b.y, vz = d.z - b.z;
    int32_t nx = uy * vz - uz * vy, ny = uz * vx - ux * vz, nz = ux * vy - uy * vx;
    /* Sides are shorter than 300 sixteenths, so products fit 17 bits. The sum of three squares
     * needs room. */
    while (nx > 16000 || nx < -16000 || ny > 16000 || ny < -16000 || nz > 16000 || nz < -16000) {
        nx >>= 1;
        ny >>= 1;
        nz >>= 1;
    }
    int32_t length = (int32_t)square_root((uint32_t)(nx * nx + ny * ny + nz * nz));
    if (length == 0) {
        length = 1;
    }
    normal(nx * 511 / length, ny * 511 / length, nz * 511 / length);
}

void list_quad(point a, point b, point c, point d) {
    flat_normal(a, b, c, d);
    list_vertex(a);
    list_vertex(b);
    list_vertex(c);
    list_vertex(d);
}

void list_strip(const point (*pairs)[2], int count) {
    list_begin(GX_QUAD_STRIP);
    for (int i = 0; i < count; i++) {
        if (i + 1 < count) {
            flat_normal(pairs[i][0], pairs[i][1], pairs[i + 1][1], pairs[i + 1][0]);
        }
        list_vertex(pairs[i][0]);
        list_vertex(pairs[i][1]);
    }
}

void list_box(int faces, int x0, int x1, int y0, int y1, int z0, int z1, int taper, int lean) {
    point p[8];
    for (int i = 0; i < 8; i++) {
        int top = i >> 2;
        int right = (i & 3) == 1 || (i & 3) == 2;
        int back = (i & 3) >= 2;
        p[i].x = (int16_t)((right ? x1 : x0) + (top ? (right ? -taper : taper) : 0));
        p[i].y = (int16_t)(top ? y1 : y0);
        p[i].z = (int16_t)((back ? z1 : z0) + (top ? lean : 0));
    }
    static const uint8_t corner[5][4] = {{7, 6, 5, 4}, {3, 2, 6, 7}, {1, 0, 4, 5}, {2, 1, 5, 6}, {0, 3, 7, 4}};
    for (int face = 0; face < 5; face++) {
        if (faces >> face & 1) {
            const uint8_t *c = corner[face];
            list_quad(p[c[0]], p[c[1]], p[c[2]], p[c[3]]);
        }
    }
}
