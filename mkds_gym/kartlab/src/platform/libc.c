/* The four library functions that compiled code may call. */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t size) {
    uint8_t *t = to;
    const uint8_t *f = from;
    if ((((uintptr_t)t | (uintptr_t)f) & 3) == 0) {
        for (; size >= 16; size -= 16, t += 16, f += 16) { /* fewer, longer bursts */
            uint32_t a = ((const uint32_t *)f)[0], b = ((const uint32_t *)f)[1];
            uint32_t c = ((const uint32_t *)f)[2], d = ((const uint32_t *)f)[3];
            ((uint32_t *)t)[0] = a;
            ((uint32_t *)t)[1] = b;
            ((uint32_t *)t)[2] = c;
            ((uint32_t *)t)[3] = d;
        }
        for (; size >= 4; size -= 4, t += 4, f += 4) {
            *(uint32_t *)t = *(const uint32_t *)f;
        }
    }
    while (size--) {
        *t++ = *f++;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t size) {
    uint8_t *t = to;
    const uint8_t *f = from;
    if (t <= f || t >= f + size) {
        return memcpy(to, from, size);
    }
    while (size--) {
        t[size] = f[size];
    }
    return to;
}

void *memset(void *to, int value, size_t size) {
    uint8_t *t = to;
    uint32_t word = (uint8_t)value * 0x01010101u;
    for (; size && ((uintptr_t)t & 3); size--) {
        *t++ = (uint8_t)value;
    }
    for (; size >= 4; size -= 4, t += 4) {
        *(uint32_t *)t = word;
    }
    while (size--) {
        *t++ = (uint8_t)value;
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t size) {
    const uint8_t *x = a, *y = b;
    for (; size; size--, x++, y++) {
        if (*x != *y) {
            return *x - *y;
        }
    }
    return 0;
}
