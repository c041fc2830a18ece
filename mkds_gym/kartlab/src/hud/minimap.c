#include "hud/minimap.h"

#include "game.h"
#include "platform/fx.h"

#define ROW 256
#define HALF_WIDTH FX(0.55) /* of a checkpoint line, as lines reach over the shoulders of the road */

static fx32 scale;        /* pixels per world unit, with 12 more fraction bits */
static fx32 centre_x, centre_z;
static int middle_x, middle_y;

static void project(fx32 x, fx32 z, int *out_x, int *out_y) {
    *out_x = middle_x + (int)(((int64_t)(x - centre_x) * scale) >> 36);
    *out_y = middle_y + (int)(((int64_t)(z - centre_z) * scale) >> 36);
}

void minimap_pixel(const vec3 *position, int *x, int *y) { project(position->x, position->z, x, y); }

/* Fills a convex polygon row by row. */
static void fill(uint8_t *canvas, const int (*corner)[2], int corners, uint8_t colour) {
    int top = corner[0][1], bottom = corner[0][1];
    for (int i = 1; i < corners; i++) {
        top = corner[i][1] < top ? corner[i][1] : top;
        bottom = corner[i][1] > bottom ? corner[i][1] : bottom;
    }
    for (int y = top < 0 ? 0 : top; y <= bottom && y < 192; y++) {
        int left = ROW, right = -1;
        for (int i = 0; i < corners; i++) {
            const int *a = corner[i], *b = corner[(i + 1) % corners];
            if ((y < a[1]) == (y < b[1]) && y != a[1] && y != b[1]) {
                continue;
            }
            int x = a[1] == b[1] ? a[0] : a[0] + (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]);
            left = x < left ? x : left;
            right = x > right ? x : right;
            if (a[1] == b[1]) {
                left = b[0] < left ? b[0] : left;
                right = b[0] > right ? b[0] : right;
            }
        }
        for (int x = left < 0 ? 0 : left; x <= right && x < ROW; x++) {
            canvas[y * ROW + x] = colour;
        }
    }
}

/* Returns an end of a checkpoint line, moved towards the middle of the road. */
static void end_of(const nkm_checkpoint *c, int right, int *x, int *y) {
    fx32 mx = (c->x1 >> 1) + (c->x2 >> 1), mz = (c->z1 >> 1) + (c->z2 >> 1);
    fx32 ex = right ? c->x2 : c->x1, ez = right ? c->z2 : c->z1;
    project(mx + fx_mul(ex - mx, HALF_WIDTH), mz + fx_mul(ez - mz, HALF_WIDTH), x, y);
}

static void strip(uint8_t *canvas, const nkm_checkpoint *from, const nkm_checkpoint *to, uint8_t colour) {
    int corner[4][2];
    end_of(from, 0, &corner[0][0], &corner[0][1]);
    end_of(from, 1, &corner[1][0], &corner[1][1]);
    end_of(to, 1, &corner[2][0], &corner[2][1]);
    end_of(to, 0, &corner[3][0], &corner[3][1]);
    fill(canvas, corner, 4, colour);
}

void minimap_paint(uint8_t *canvas, int left, int top, int size, uint8_t rim, uint8_t road, uint8_t start) {
    const map_list *list = &game.map->lists[MAP_CPOI], *sections = &game.map->lists[MAP_CPAT];
    const nkm_checkpoint *points = list->entries;
    const nkm_section *section = sections->entries;
    middle_x = left + size / 2;
    middle_y = top + size / 2;
    if (!points || list->count == 0) {
        return;
    }
    fx32 low_x = points[0].x1, high_x = low_x, low_z = points[0].z1, high_z = low_z;
    for (int i = 0; i < list->count; i++) {
        low_x = fx_min(low_x, fx_min(points[i].x1, points[i].x2));
        high_x = fx_max(high_x, fx_max(points[i].x1, points[i].x2));
        low_z = fx_min(low_z, fx_min(points[i].z1, points[i].z2));
        high_z = fx_max(high_z, fx_max(points[i].z1, points[i].z2));
    }
    centre_x = low_x + (high_x - low_x) / 2;
    centre_z = low_z + (high_z - low_z) / 2;
    fx32 extent = fx_max(fx_max(high_x - low_x, high_z - low_z), FX(64));
    scale = (fx32)(((int64_t)size << 36) / extent);

    for (int s = 0; s < sections->count; s++) {
        for (int i = 0; i + 1 < section[s].length; i++) {
            strip(canvas, &points[section[s].start + i], &points[section[s].start + i + 1], road);
        }
        for (int n = 0; n < 3; n++) {
            if (section[s].length && section[s].next[n] < sections->count) {
                strip(canvas, &points[section[s].start + section[s].length - 1],
                      &points[section[section[s].next[n]].start], road);
            }
        }
    }
    for (int i = 0; i < list->count; i++) {
        if (points[i].key == 0) {
            int line[4][2];
            end_of(&points[i], 0, &line[0][0], &line[0][1]);
            end_of(&points[i], 1, &line[1][0], &line[1][1]);
            line[2][0] = line[1][0] + 1;
            line[2][1] = line[1][1] + 1;
            line[3][0] = line[0][0] + 1;
            line[3][1] = line[0][1] + 1;
            fill(canvas, line, 4, start);
        }
    }
    /* A rim of one pixel around the road. */
    for (int y = top - 2; y < top + size + 2; y++) {
        for (int x = left - 2; x < left + size + 2; x++) {
            uint8_t *at = &canvas[y * ROW + x];
            if (*at == road || *at == start || *at == rim) {
                continue;
            }
            if (at[1] == road || at[-1] == road || at[ROW] == road || at[-ROW] == road) {
                *at = rim;
            }
        }
    }
}
