/* Mirroring turns x into -x in the loaded files. All structures in RAM then agree with each other.
 * The course's model is not changed; draw/draw_course.c draws it through a mirrored matrix. */
#include "course/mirror.h"

#include "platform/heap.h"
#include "platform/memory_layout.h"
#include <string.h>

static void negate(fx32 *value) { *value = -*value; }

/* ---- collision ---- */

/* Swaps the children that differ only in x. Blocks may be shared, so each block is swapped once. */
static void mirror_block(uint32_t *octree, uint32_t *visited, uint32_t at) {
    if (visited[at >> 5] & 1u << (at & 31)) {
        return;
    }
    visited[at >> 5] |= 1u << (at & 31);
    uint32_t *block = octree + at;
    for (uint32_t i = 0; i < 8; i += 2) {
        uint32_t left = block[i];
        block[i] = block[i + 1];
        block[i + 1] = left;
    }
    for (uint32_t i = 0; i < 8; i++) {
        if (!(block[i] & 0x80000000u)) {
            mirror_block(octree, visited, at + block[i] / 4);
        }
    }
}

static void mirror_octree(collision_header *header, uint32_t *octree, uint32_t bytes) {
    uint32_t mark = heap_mark();
    uint32_t *visited = heap_allocate(bytes / 32 + 4); /* one bit for each word */
    uint32_t shift = header->block_width_shift;
    uint32_t count_x = (~header->x_mask >> shift) + 1, count_y = (~header->y_mask >> shift) + 1;
    uint32_t count_z = (~header->z_mask >> shift) + 1;
    for (uint32_t row = 0; row < count_y * count_z; row++) {
        uint32_t first = row / count_y << header->xy_blocks_shift | row % count_y << header->x_blocks_shift;
        uint32_t *nodes = octree + first;
        for (uint32_t i = 0; i < count_x / 2; i++) {
            uint32_t node = nodes[i];
            nodes[i] = nodes[count_x - 1 - i];
            nodes[count_x - 1 - i] = node;
        }
        for (uint32_t i = 0; i < count_x; i++) {
            if (!(nodes[i] & 0x80000000u)) {
                mirror_block(octree, visited, nodes[i] / 4);
            }
        }
    }
    heap_release(mark);
}

/* A triangle's second and third corners lie on its edges 1 and 2. In a mirror they swap sides, so
 * the two edges swap places. The formula for the corners and the direction of the normal stay
 * valid. */
void mirror_collision(uint8_t *kcl, uint32_t size) {
    collision_header *header = (collision_header *)kcl;
    const uint32_t *offsets = (const uint32_t *)kcl;
    vec3 *positions = (vec3 *)(kcl + offsets[0]), *positions_end = (vec3 *)(kcl + offsets[1]);
    kcl_normal *normals = (kcl_normal *)(kcl + offsets[1]), *normals_end = (kcl_normal *)(kcl + offsets[2] + sizeof(kcl_prism));
    kcl_prism *prisms = (kcl_prism *)normals_end, *prisms_end = (kcl_prism *)(kcl + offsets[3]);
    for (; positions + 1 <= positions_end; positions++) {
        negate(&positions->x);
    }
    for (; normals + 1 <= normals_end; normals++) {
        normals->x = (fx16)-normals->x;
    }
    for (; prisms + 1 <= prisms_end; prisms++) {
        uint16_t edge = prisms->edge_normals[0];
        prisms->edge_normals[0] = prisms->edge_normals[1];
        prisms->edge_normals[1] = edge;
    }
    /* The mask gives the width of the area. */
    header->area_minimum.x = -header->area_minimum.x - (fx32)((~header->x_mask + 1) << 12);
    mirror_octree(header, (uint32_t *)(kcl + offsets[3]), size - offsets[3]);
}

/* ---- map ---- */

static void mirror_vector(uint8_t *entry, uint32_t offset) { negate((fx32 *)(entry + offset)); }

/* Rotations about y and z change direction. */
static void mirror_rotation(uint8_t *entry, uint32_t offset) {
    negate((fx32 *)(entry + offset + 4));
    negate((fx32 *)(entry + offset + 8));
}

static void mirror_checkpoint(nkm_checkpoint *point) {
    fx32 x = point->x1, z = point->z1; /* the left end becomes the right end */
    point->x1 = -point->x2;
    point->z1 = point->z2;
    point->x2 = -x;
    point->z2 = z;
    point->sin = -point->sin;
}

/* The size of a section's entries, and the offset of their rotation (0: no rotation). */
static const struct {
    char magic[5];
    uint8_t size, rotation;
} sections[] = {
    {"OBJI", 0x3C, 0x0C}, {"POIT", 0x14, 0}, {"KTPS", 0x1C, 0x0C}, {"KTPJ", 0x20, 0x0C},
    {"KTP2", 0x1C, 0x0C}, {"KTPC", 0x1C, 0x0C}, {"KTPM", 0x1C, 0x0C}, {"IPOI", 0x14, 0},
    {"EPOI", 0x18, 0}, {"AREA", 0x48, 0}, {"CAME", 0x4C, 0x0C},
};

static void mirror_entry(const char *magic, uint8_t *entry, uint32_t rotation) {
    mirror_vector(entry, 0);
    if (rotation) {
        mirror_rotation(entry, rotation);
    }
    if (!memcmp(magic, "AREA", 4)) { /* the three axes stay right-handed */
        mirror_rotation(entry, 0x18);
        mirror_vector(entry, 0x24);
        mirror_vector(entry, 0x30);
    } else if (!memcmp(magic, "CAME", 4)) { /* the two points that the camera looks at */
        mirror_vector(entry, 0x18);
        mirror_vector(entry, 0x24);
    }
}

void mirror_map(uint8_t *nkm, uint32_t size) {
    uint32_t header = ((const uint16_t *)nkm)[3];
    for (uint32_t at = 8; at + 4 <= header; at += 4) {
        uint32_t start = header + *(const uint32_t *)(nkm + at);
        if (start + 8 > size) {
            continue;
        }
        const char *magic = (const char *)nkm + start;
        uint32_t count = *(const uint16_t *)(nkm + start + 4);
        uint8_t *entries = nkm + start + 8;
        if (!memcmp(magic, "CPOI", 4)) {
            for (uint32_t i = 0; i < count; i++) {
                mirror_checkpoint((nkm_checkpoint *)entries + i);
            }
        }
        for (uint32_t s = 0; s < sizeof sections / sizeof *sections; s++) {
            for (uint32_t i = 0; i < count && !memcmp(magic, sections[s].magic, 4); i++) {
                mirror_entry(magic, entries + i * sections[s].size, sections[s].rotation);
            }
        }
    }
}
