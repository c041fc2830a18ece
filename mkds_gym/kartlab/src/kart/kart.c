#include "kart/kart.h"

#include "kart/physics.h"

struct kart karts[DRIVERS_MAX];

const fx32 kart_class_speeds[3] = CLASS_SPEEDS;

static vec3 update_forward(driver *kart) {
    vec3 flat = kart_flat_heading(kart), up = kart->up;
    kart->forward = v_unit(v_mad(flat, up, -v_dot(flat, up)), flat);
    return flat;
}

void kart_forward_update(driver *kart) { update_forward(kart); }

/* Computes forward from heading and up, then the pitch, matrix and quaternion. */
void kart_rotation_update(driver *kart) {
    vec3 flat = update_forward(kart), up = kart->up, forward = kart->forward;
    vec3 left = v_cross(up, forward);
    kart->pitch = (int16_t)fx_atan2(forward.y, v_dot(forward, flat));
    const vec3 rows[4] = {left, up, forward, kart->position};
    for (int i = 0; i < 4; i++) {
        kart->matrix[i][0] = rows[i].x;
        kart->matrix[i][1] = rows[i].y;
        kart->matrix[i][2] = rows[i].z;
    }
    /* The quaternion's largest component comes first, to divide by a large number. */
    fx32 (*m)[3] = kart->matrix;
    fx32 sums[4] = {m[0][0] - m[1][1] - m[2][2], m[1][1] - m[0][0] - m[2][2],
                    m[2][2] - m[0][0] - m[1][1], m[0][0] + m[1][1] + m[2][2]};
    int largest = 3;
    for (int i = 0; i < 3; i++) {
        if (sums[i] > sums[largest]) {
            largest = i;
        }
    }
    fx32 twice = fx_sqrt(FX_ONE + sums[largest]); /* 2 |component| */
    fx32 inverse = fx_div(FX_ONE / 2, twice);
    fx32 *q = kart->rotation;
    if (largest == 3) {
        q[0] = fx_mul(m[1][2] - m[2][1], inverse);
        q[1] = fx_mul(m[2][0] - m[0][2], inverse);
        q[2] = fx_mul(m[0][1] - m[1][0], inverse);
    } else {
        int a = largest, b = (a + 1) % 3, c = (a + 2) % 3;
        q[b] = fx_mul(m[a][b] + m[b][a], inverse);
        q[c] = fx_mul(m[a][c] + m[c][a], inverse);
        q[3] = fx_mul(m[b][c] - m[c][b], inverse);
    }
    q[largest] = twice / 2;
}

void kart_motion_update(driver *kart) {
    kart->delta = v_sub(kart->position, kart->previous_position);
    kart->delta_length = v_length(kart->delta);
    kart->speed = v_dot(kart->velocity, kart->forward);
    kart->max_speed_fraction = fx_div(kart->speed, kart_class_speed());
    kart->driving_direction = v_unit(kart->velocity, kart->forward);
    kart->state_bits &= ~(uint32_t)DRIVER_STATE_GOING_BACKWARDS;
    if (kart->speed < -FX(0.05)) {
        kart->state_bits |= DRIVER_STATE_GOING_BACKWARDS;
    }
}
