/* Fixed-point arithmetic: fx32 has 12 fraction bits; products use 64 bits. */
#pragma once

#include "platform/hw.h"
#include "platform/memory_layout.h"

#define FX_ONE 4096
/* A constant in fx32. Literals only: the compiler folds them; the CPU has no FPU. */
#define FX(value) ((fx32)((value) * 4096 + ((value) < 0 ? -0.5 : 0.5)))

static inline fx32 fx_mul(fx32 a, fx32 b) { return (fx32)(((int64_t)a * b + 2048) >> 12); }

/* The divider runs beside the processor: 18 cycles for 32 by 32 bits, 34 for 64 by 32. */
static inline fx32 fx_div(fx32 a, fx32 b) {
    HW_DIVCNT = 1;
    HW_DIV_NUMERATOR = (uint64_t)((int64_t)a << 12);
    HW_DIV_DENOMINATOR = (uint32_t)b;
    while (HW_DIVCNT & 0x8000) {}
    return (fx32)HW_DIV_RESULT;
}
/* Integer a / b; the quotient must fit. */
static inline int32_t fx_quotient(int64_t a, int32_t b) {
    HW_DIVCNT = 1;
    HW_DIV_NUMERATOR = (uint64_t)a;
    HW_DIV_DENOMINATOR = (uint32_t)b;
    while (HW_DIVCNT & 0x8000) {}
    return (int32_t)HW_DIV_RESULT;
}
static inline uint32_t fx_udiv32(uint32_t a, uint32_t b) { /* both below 2^31 */
    HW_DIVCNT = 0;
    HW_DIV_NUMERATOR = a;
    HW_DIV_DENOMINATOR = b;
    while (HW_DIVCNT & 0x8000) {}
    return (uint32_t)HW_DIV_RESULT;
}

/* Square root of a 64-bit integer. */
static inline uint32_t fx_isqrt64(uint64_t a) {
    HW_SQRTCNT = 1;
    HW_SQRT_PARAMETER = a;
    while (HW_SQRTCNT & 0x8000) {}
    return HW_SQRT_RESULT;
}
static inline fx32 fx_sqrt(fx32 a) { return a <= 0 ? 0 : (fx32)fx_isqrt64((uint64_t)a << 12); }
static inline fx32 fx_abs(fx32 a) { return a < 0 ? -a : a; }
static inline fx32 fx_min(fx32 a, fx32 b) { return a < b ? a : b; }
static inline fx32 fx_max(fx32 a, fx32 b) { return a > b ? a : b; }
static inline fx32 fx_clamp(fx32 a, fx32 low, fx32 high) { return a < low ? low : a > high ? high : a; }
/* Returns `a` moved towards `goal` by at most `step`. */
static inline fx32 fx_approach(fx32 a, fx32 goal, fx32 step) {
    return a < goal ? fx_min(a + step, goal) : fx_max(a - step, goal);
}

/* fx32 degrees to an angle: 65536 / (360 * 4096) = 2 / 45. */
static inline angle16 fx_degrees(fx32 degrees) { return (angle16)((int64_t)degrees * 2 / 45); }

fx32 fx_sin(angle16 angle);
static inline fx32 fx_cos(angle16 angle) { return fx_sin((angle16)(angle + 0x4000)); }
angle16 fx_atan2(fx32 y, fx32 x);

static inline vec3 v_make(fx32 x, fx32 y, fx32 z) { return (vec3){x, y, z}; }
static inline vec3 v_add(vec3 a, vec3 b) { return v_make(a.x + b.x, a.y + b.y, a.z + b.z); }
static inline vec3 v_sub(vec3 a, vec3 b) { return v_make(a.x - b.x, a.y - b.y, a.z - b.z); }
static inline vec3 v_scale(vec3 a, fx32 s) { return v_make(fx_mul(a.x, s), fx_mul(a.y, s), fx_mul(a.z, s)); }
/* a + b * s */
static inline vec3 v_mad(vec3 a, vec3 b, fx32 s) { return v_add(a, v_scale(b, s)); }
static inline fx32 v_dot(vec3 a, vec3 b) {
    return (fx32)(((int64_t)a.x * b.x + (int64_t)a.y * b.y + (int64_t)a.z * b.z + 2048) >> 12);
}
static inline vec3 v_cross(vec3 a, vec3 b) {
    return v_make((fx32)(((int64_t)a.y * b.z - (int64_t)a.z * b.y + 2048) >> 12),
                  (fx32)(((int64_t)a.z * b.x - (int64_t)a.x * b.z + 2048) >> 12),
                  (fx32)(((int64_t)a.x * b.y - (int64_t)a.y * b.x + 2048) >> 12));
}
static inline fx32 v_length(vec3 a) {
    return (fx32)fx_isqrt64((uint64_t)((int64_t)a.x * a.x + (int64_t)a.y * a.y + (int64_t)a.z * a.z));
}
/* Returns v_length(a) > limit, without the square root. */
static inline int v_longer(vec3 a, fx32 limit) {
    uint64_t square = (uint64_t)((int64_t)a.x * a.x + (int64_t)a.y * a.y + (int64_t)a.z * a.z);
    return square >= (uint64_t)(limit + 1) * (uint64_t)(limit + 1);
}
/* Returns the unit vector along `a`, or `otherwise` when `a` is (nearly) zero. */
vec3 v_unit(vec3 a, vec3 otherwise);
