#include "platform/fx.h"

/* Sine of a quarter turn times x, 0 <= x <= 1, as an odd polynomial in Q28 (error < 2e-6): the
 * coefficients of the Taylor series, the last one changed to give 1 at x = 1. */
fx32 fx_sin(angle16 angle) {
    uint32_t quarter = angle & 0x3FFF;
    if (angle & 0x4000) {
        quarter = 0x4000 - quarter;
    }
    int64_t x = (int64_t)quarter << 14; /* Q28 */
    int64_t square = (x * x) >> 28;
    int64_t sum = 41264; /* 0.00015372 */
    sum = -1256734 + ((sum * square) >> 28); /* 0.00468175 */
    sum = 21393038 + ((sum * square) >> 28); /* 0.07969262 */
    sum = -173399170 + ((sum * square) >> 28); /* 0.64596410 */
    sum = 421657428 + ((sum * square) >> 28); /* pi / 2 */
    fx32 sine = (fx32)((((sum * x) >> 28) + (1 << 15)) >> 16);
    if (sine > FX_ONE) {
        sine = FX_ONE;
    }
    return angle & 0x8000 ? -sine : sine;
}

/* atan of t in 0 to 1 as a polynomial; the error is below a twentieth of a degree. */
angle16 fx_atan2(fx32 y, fx32 x) {
    fx32 ay = fx_abs(y), ax = fx_abs(x);
    if (ay == 0 && ax == 0) {
        return 0;
    }
    int steep = ay > ax;
    fx32 t = steep ? fx_div(ax, ay) : fx_div(ay, ax);
    /* atan(t) = t (pi/4 + (1 - t) (0.2447 + 0.0663 t)), in angle16: 1 rad = 10430.4 */
    int32_t bend = fx_mul(FX_ONE - t, 2552 + ((692 * t) >> 12));
    int32_t angle = (int32_t)(((int64_t)t * (8192 + bend)) >> 12);
    if (steep) {
        angle = 0x4000 - angle;
    }
    if (x < 0) {
        angle = 0x8000 - angle;
    }
    return (angle16)(y < 0 ? -angle : angle);
}

vec3 v_unit(vec3 a, vec3 otherwise) {
    fx32 length = v_length(a);
    if (length < 16) {
        return otherwise;
    }
    /* One division, then three products. */
    HW_DIVCNT = 1;
    HW_DIV_NUMERATOR = 1ull << 36;
    HW_DIV_DENOMINATOR = (uint32_t)length;
    while (HW_DIVCNT & 0x8000) {}
    int64_t factor = (int64_t)HW_DIV_RESULT; /* Q24 of 1 / length */
    return v_make((fx32)((a.x * factor + (1 << 23)) >> 24), (fx32)((a.y * factor + (1 << 23)) >> 24),
                  (fx32)((a.z * factor + (1 << 23)) >> 24));
}
