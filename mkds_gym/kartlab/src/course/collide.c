/* A prism is a triangle with a face normal n and three edge normals e1, e2, e3, which point out of
 * the triangle within its plane. e1 and e2 pass through the vertex v0, e3 lies `height` beyond v0.
 * The sphere is only pushed along n, far enough to touch the triangle's face, edge or corner. Where
 * two triangles meet in a plane, the second triangle adds no push, and a kart slides over the seam
 * without a bump. */
#include "course/collide.h"

#include "platform/fx.h"

#define ITCM __attribute__((section(".itcm"), noinline))

/* How far behind a face the centre may be and still be pushed to the front. A kart that came from
 * the front is never deeper behind a wall after one step; a deeper kart came from behind. */
#define WALL_DEPTH FX(3.0)
#define FLOOR_DEPTH FX(12.0)
/* A face this near counts as touched even without a push. */
#define TOUCH FX(0.02)

static inline fx32 dot(const kcl_normal *n, vec3 p) {
    return (fx32)(((int64_t)n->x * p.x + (int64_t)n->y * p.y + (int64_t)n->z * p.z + 2048) >> 12);
}

/* Returns the prisms of the octree's leaf at a point: u16 indices from 1, a 0 at the end. */
static ITCM const uint16_t *leaf(const collision_header *kcl, vec3 at) {
    uint32_t x = (uint32_t)((at.x - kcl->area_minimum.x) >> 12);
    uint32_t y = (uint32_t)((at.y - kcl->area_minimum.y) >> 12);
    uint32_t z = (uint32_t)((at.z - kcl->area_minimum.z) >> 12);
    if ((x & kcl->x_mask) | (y & kcl->y_mask) | (z & kcl->z_mask)) {
        return 0;
    }
    uint32_t shift = kcl->block_width_shift;
    uint32_t index = (z >> shift) << kcl->xy_blocks_shift | (y >> shift) << kcl->x_blocks_shift | x >> shift;
    const uint8_t *block = kcl->octree;
    uint32_t node = ((const uint32_t *)block)[index];
    while (!(node & 0x80000000u)) {
        block += node;
        shift--;
        index = (z >> shift & 1) << 2 | (y >> shift & 1) << 1 | (x >> shift & 1);
        node = ((const uint32_t *)block)[index];
    }
    return (const uint16_t *)(block + (node & 0x7FFFFFFFu) + 2);
}

ITCM void collide(vec3 *centre, fx32 wall_radius, fx32 floor_radius, contact *result) {
    const collision_header *kcl = &COLLISION_HEADER;
    const uint16_t *list = leaf(kcl, *centre);
    fx32 best_floor = 0x7FFFFFFF, best_wall = 0;
    result->on_floor = result->on_wall = result->out_of_bounds = 0;
    if (!list) {
        return;
    }
    for (; *list; list++) {
        const kcl_prism *prism = &kcl->prisms[*list];
        uint32_t attribute = prism->attribute, type = ATTRIBUTE_TYPE(attribute);
        if ((attribute & 1u << 4) || type == 13 || type == 14 || type == 4) {
            continue; /* does not affect drivers */
        }
        int is_wall = (attribute >> 14 & 1) != 0;
        fx32 radius = is_wall ? wall_radius : floor_radius;
        vec3 p = v_sub(*centre, kcl->positions[prism->position]);
        const kcl_normal *n = &kcl->normals[prism->face_normal];
        fx32 away = dot(n, p);
        if (away >= radius + TOUCH || away < -(is_wall ? WALL_DEPTH : FLOOR_DEPTH)) {
            continue;
        }
        const kcl_normal *edge[3] = {&kcl->normals[prism->edge_normals[0]], &kcl->normals[prism->edge_normals[1]],
                                     &kcl->normals[prism->edge_normals[2]]};
        fx32 d[3];
        d[0] = dot(edge[0], p);
        if (d[0] >= radius) {
            continue;
        }
        d[1] = dot(edge[1], p);
        if (d[1] >= radius) {
            continue;
        }
        d[2] = dot(edge[2], p) - prism->height;
        if (d[2] >= radius) {
            continue;
        }
        int i = d[0] > d[1] ? 0 : 1; /* the edge that the centre lies farthest beyond */
        if (d[2] > d[i]) {
            i = 2;
        }
        fx32 beyond = d[i], reach = radius;
        if (beyond > 0) {
            if (away < 0) {
                continue; /* beside the triangle and behind its plane */
            }
            /* Beyond two edges, the corner may be nearest. */
            int64_t square = (int64_t)beyond * beyond;
            int j = i == 0 ? 1 : 0, k = 3 - i - j;
            if (d[k] > d[j]) {
                j = k;
            }
            if (d[j] > 0) {
                vec3 other = v_make(edge[j]->x, edge[j]->y, edge[j]->z);
                fx32 cosine = dot(edge[i], other);
                fx32 sine_square = FX_ONE - fx_mul(cosine, cosine);
                if (d[j] > fx_mul(beyond, cosine) && sine_square > 64) {
                    square = ((square + (int64_t)d[j] * d[j] -
                               2 * (((int64_t)beyond * d[j] >> 12) * cosine)) >> 12);
                    HW_DIVCNT = 1;
                    HW_DIV_NUMERATOR = (uint64_t)(square << 24);
                    HW_DIV_DENOMINATOR = (uint32_t)sine_square;
                    while (HW_DIVCNT & 0x8000) {}
                    square = (int64_t)HW_DIV_RESULT;
                }
            }
            int64_t rest = (int64_t)radius * radius - square;
            if (rest <= 0) {
                continue;
            }
            reach = (fx32)fx_isqrt64((uint64_t)rest);
        }
        fx32 push = reach - away;
        if (push < -TOUCH) {
            continue;
        }
        if (type == 10 || type == 11) {
            result->out_of_bounds = 1;
            continue;
        }
        vec3 normal = v_make(n->x, n->y, n->z);
        if (push > 0) {
            *centre = v_mad(*centre, normal, push);
        }
        if (is_wall) {
            if (push > best_wall) {
                best_wall = push;
                result->wall_normal = normal;
                result->on_wall = 1;
            }
        } else if (beyond < best_floor) { /* prefer the floor right below to a floor at the side */
            best_floor = beyond;
            result->floor_normal = normal;
            result->floor_attribute = attribute;
            result->on_floor = 1;
        }
    }
}
