#include "platform/archive.h"

#include "platform/bytes.h"
#include "platform/heap.h"

/* The header is 0x10 and the unpacked size in 24 bits. Groups of a flag byte and eight items
 * follow; the highest bit belongs to the first item. 0 is a literal byte, 1 a copy of a length (4
 * bits + 3) from a distance (12 bits + 1). */
uint8_t *lz_unpack(const uint8_t *data, uint32_t size, uint32_t *unpacked_size) {
    if (size < 4 || data[0] != 0x10) {
        return 0;
    }
    uint32_t length = get32(data) >> 8, at = 0;
    const uint8_t *end = data + size;
    data += 4;
    uint8_t *out = heap_allocate(length);
    while (at < length) {
        if (data >= end) {
            return 0;
        }
        uint32_t flags = *data++;
        for (int i = 0; i < 8 && at < length; i++, flags <<= 1) {
            if (!(flags & 0x80)) {
                if (data >= end) {
                    return 0;
                }
                out[at++] = *data++;
                continue;
            }
            if (end - data < 2) {
                return 0;
            }
            uint32_t count = (uint32_t)(data[0] >> 4) + 3;
            uint32_t distance = ((data[0] & 0xFu) << 8 | data[1]) + 1;
            data += 2;
            if (distance > at) {
                return 0;
            }
            for (; count && at < length; count--, at++) {
                out[at] = out[at - distance];
            }
        }
    }
    *unpacked_size = length;
    return out;
}

/* A NARC has a header of 0x10 bytes, then BTAF (start and end of each file), BTNF (a name table
 * like the cartridge's) and GMIF (data). */
const uint8_t *narc_file(const uint8_t *narc, uint32_t narc_size, const char *name, uint32_t *size) {
    if (narc_size < 0x28 || get32(narc) != 0x4352414E) { /* "NARC" */
        return 0;
    }
    const uint8_t *table = narc + 0x10;
    const uint8_t *names = table + get32(table + 4);
    const uint8_t *data = names + get32(names + 4) + 8;
    uint32_t count = get16(table + 8), file = get16(names + 8 + 4);
    const uint8_t *entry = names + 8 + get32(names + 8);
    while (*entry) {
        uint32_t length = *entry & 0x7F, i = 0;
        if (*entry & 0x80) {
            entry += 3 + length;
            continue;
        }
        while (i < length && name[i] == (char)entry[1 + i]) {
            i++;
        }
        if (i == length && name[i] == 0) {
            if (file >= count) {
                return 0;
            }
            uint32_t start = get32(table + 0xC + file * 8), end = get32(table + 0x10 + file * 8);
            if (end < start || data + end > narc + narc_size) {
                return 0;
            }
            *size = end - start;
            return data + start;
        }
        entry += 1 + length;
        file++;
    }
    return 0;
}
