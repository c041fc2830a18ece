/* A painted panorama behind the 3D picture scrolls with the view: an extended background of 512 x
 * 256 pixels in 256 colours that wraps. A full turn of the view scrolls by 1,024 pixels, close to
 * the scale of the 3D picture at its centre. */
#include "draw/sky.h"

#include "platform/fx.h"
#include "platform/gx.h"
#include "race/camera.h"

#define WIDTH 512
#define HEIGHT 256
#define HORIZON 110 /* row of the panorama at the horizon */
#define SCREEN_HEIGHT 192

/* Palette: colour ramps, dithered between neighbouring colours. */
enum { SKY = 1, SKY_STEPS = 32, SEA = SKY + SKY_STEPS, SEA_STEPS = 24, HILL = SEA + SEA_STEPS, HILL_STEPS = 8, CLOUD = HILL + HILL_STEPS, CLOUD_STEPS = 4 };

static uint8_t line[WIDTH] __attribute__((aligned(4)));

static uint16_t mix(uint16_t a, uint16_t b, uint32_t step, uint32_t steps) {
    uint32_t out = 0;
    for (uint32_t shift = 0; shift < 15; shift += 5) {
        uint32_t x = a >> shift & 31, y = b >> shift & 31;
        out |= ((x * (steps - step) + y * step + steps / 2) / steps) << shift;
    }
    return (uint16_t)out;
}

static void ramp(int first, int steps, uint16_t from, uint16_t to) {
    for (int i = 0; i < steps; i++) {
        GX_R16(0x05000000 + 2 * (first + i)) = mix(from, to, (uint32_t)i, (uint32_t)steps - 1);
    }
}

static const uint8_t bayer[4][4] = {{0, 8, 2, 10}, {12, 4, 14, 6}, {3, 11, 1, 9}, {15, 7, 13, 5}};

/* Returns the palette index at a position in sixteenths of a ramp's step. */
static uint8_t dithered(int first, int steps, uint32_t sixteenths, uint32_t x, uint32_t y) {
    uint32_t step = (sixteenths + bayer[y & 3][x & 3]) >> 4;
    return (uint8_t)(first + (int)(step < (uint32_t)steps ? step : (uint32_t)steps - 1));
}

/* Two ranges of hills, periodic in the panorama: rows above the horizon, and sunny sides. */
static uint8_t hill[2][WIDTH], sunny[2][WIDTH];

static fx32 hill_height(uint32_t x, int nearer) {
    uint32_t a = x * 128; /* angle16: one turn in 512 columns */
    return nearer ? FX(5) + 3 * fx_sin((angle16)(a * 3 + 9000)) + 2 * fx_sin((angle16)(a * 8)) + fx_sin((angle16)(a * 19))
                    : FX(9) + 4 * fx_sin((angle16)(a * 2)) + 3 * fx_sin((angle16)(a * 5 + 20000)) + 2 * fx_sin((angle16)(a * 13));
}

static void hills_init(void) {
    for (uint32_t range = 0; range < 2; range++) {
        for (uint32_t x = 0; x < WIDTH; x++) {
            fx32 here = hill_height(x, (int)range);
            hill[range][x] = (uint8_t)(here < 0 ? 0 : here >> 12);
            sunny[range][x] = hill_height(x + 9, (int)range) > here;
        }
    }
}

struct puff {
    int16_t x, y, rx, ry;
};
static const struct puff puffs[] = {
    {60, 40, 26, 8},  {46, 34, 14, 9},  {68, 30, 16, 11}, {84, 38, 18, 7},  {190, 66, 20, 5}, {204, 61, 13, 7},  {218, 66, 17, 5},
    {300, 28, 30, 8}, {286, 21, 15, 9}, {312, 17, 17, 11}, {330, 26, 16, 7}, {408, 56, 24, 6}, {398, 50, 14, 8}, {422, 51, 13, 7},
    {478, 78, 15, 3}, {488, 75, 9, 4},  {134, 82, 17, 3}, {126, 79, 9, 4},
};

static void clouds(uint32_t y) {
    for (uint32_t i = 0; i < sizeof puffs / sizeof *puffs; i++) {
        const struct puff *p = &puffs[i];
        int32_t dy = (int32_t)y - p->y;
        if (dy < -p->ry || dy > p->ry) {
            continue;
        }
        for (int32_t dx = -p->rx; dx <= p->rx; dx++) {
            int32_t inside = p->rx * p->rx * p->ry * p->ry - dx * dx * p->ry * p->ry - dy * dy * p->rx * p->rx;
            uint32_t x = (uint32_t)(p->x + dx) & (WIDTH - 1);
            if (inside < 0) {
                continue;
            }
            /* white at the top, the sky's light below */
            int32_t shade = (dy * 20 / p->ry + 24 + bayer[y & 3][x & 3]) / 16;
            uint8_t colour = (uint8_t)(CLOUD + (shade < 0 ? 0 : shade > CLOUD_STEPS - 1 ? CLOUD_STEPS - 1 : shade));
            if (line[x] < CLOUD || line[x] > colour) {
                line[x] = colour;
            }
        }
    }
}

void sky_init(const struct sky_colours *c) {
    uint16_t bottom = c->bottom;
    GX_R16(0x05000000) = bottom;
    ramp(SKY, SKY_STEPS, c->top, bottom);
    ramp(SEA, SEA_STEPS, mix(bottom, c->sea_far, 1, 2), c->sea_near);
    /* Haze covers half of the farther range. */
    uint16_t haze = mix(bottom, mix(c->hills, c->sea_far, 1, 3), 1, 2);
    ramp(HILL, 2, mix(haze, bottom, 2, 5), haze);
    ramp(HILL + 2, 2, mix(haze, c->hills, 1, 2), mix(haze, mix(c->hills, 0, 1, 8), 3, 4));
    ramp(HILL + 4, 4, mix(c->sea_far, c->clouds, 3, 4), bottom);
    ramp(CLOUD, CLOUD_STEPS, c->clouds, mix(c->clouds, bottom, 4, 5));

    hills_init();
    volatile uint32_t *out = (volatile uint32_t *)0x06000000;
    for (uint32_t y = 0; y < HEIGHT; y++) {
        if (y < HORIZON) {
            /* a faster ramp near the horizon keeps the pale band low */
            uint32_t place = (y * y * 3 / 4 + y * 27) * (SKY_STEPS - 1) * 16 / 12100;
            for (uint32_t x = 0; x < WIDTH; x++) {
                line[x] = dithered(SKY, SKY_STEPS, place, x, y);
            }
            clouds(y);
            int32_t up = HORIZON - (int32_t)y;
            for (uint32_t x = 0; x < WIDTH && up < 32; x++) {
                for (int nearer = 0; nearer < 2; nearer++) {
                    if (up <= hill[nearer][x]) {
                        line[x] = (uint8_t)(HILL + 2 * nearer + !sunny[nearer][x]);
                    }
                }
            }
        } else {
            uint32_t down = y - HORIZON, place = down * (SEA_STEPS - 1) * 16 / 70;
            for (uint32_t x = 0; x < WIDTH; x++) {
                line[x] = dithered(SEA, SEA_STEPS, place, x, y);
            }
            /* glints: dashes that get longer towards the viewer */
            uint32_t length = 2 + down / 8;
            for (uint32_t x = 0, cell = 0; x + length < WIDTH && down > 1 && down < 60; x += length, cell++) {
                if (((cell * 0x9E37u + y * 0x79B9u) * 0x85EBCA6Bu) >> 26 == 7) {
                    for (uint32_t i = 0; i < length; i++) {
                        line[x + i] = HILL + 6;
                    }
                }
            }
        }
        for (uint32_t x = 0; x < WIDTH; x += 4) {
            *out++ = line[x] | (uint32_t)line[x + 1] << 8 | (uint32_t)line[x + 2] << 16 | (uint32_t)line[x + 3] << 24;
        }
    }
    /* extended 256-colour bitmap of 512 x 256, wrapping, behind everything */
    GX_BGCNT(GX_MAIN, 3) = 3 | 1 << 7 | 1 << 13 | 2 << 14;
    GX_BG3P(GX_MAIN, 0) = 0x100;
    GX_BG3P(GX_MAIN, 1) = 0;
    GX_BG3P(GX_MAIN, 2) = 0;
    GX_BG3P(GX_MAIN, 3) = 0x100;
}

static int32_t horizon;
static angle16 heading;

void sky_look(void) {
    horizon = camera_view()->horizon;
    heading = camera_view()->heading;
}

void sky_frame(void) {
    int32_t y = HORIZON - horizon;
    if (y < 0) {
        y = 0;
    } else if (y > HEIGHT - SCREEN_HEIGHT) {
        y = HEIGHT - SCREEN_HEIGHT;
    }
    /* headings grow to the left, columns to the right */
    uint32_t x = ((uint32_t)-(int32_t)heading >> 6) & (WIDTH - 1);
    GX_BG3X(GX_MAIN) = x << 8;
    GX_BG3Y(GX_MAIN) = (uint32_t)y << 8;
}
