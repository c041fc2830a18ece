#include "draw/picture.h"

struct picture_size picture_sent;

/* Returns the number of data words of a command. */
static uint32_t parameters(uint32_t command) {
    switch (command) {
    case 0x16: case 0x18: return 16;
    case 0x17: case 0x19: return 12;
    case 0x1A: return 9;
    case GX_MTX_SCALE: case 0x1C: return 3;
    case GX_VTX_16: return 2;
    case GX_NOP: case GX_MTX_PUSH: case GX_MTX_IDENTITY: case GX_END_VTXS: return 0;
    default: return 1;
    }
}

struct picture_size picture_count(const uint32_t *words, uint32_t count) {
    struct picture_size size = {0, 0};
    uint32_t kind = GX_TRIANGLES, corners = 0;
    for (uint32_t at = 0; at < count;) {
        for (uint32_t packed = words[at++]; packed; packed >>= 8) {
            uint32_t command = packed & 0xFF;
            if (command == GX_BEGIN_VTXS) {
                kind = words[at] & 3;
                corners = 0;
            } else if (command >= GX_VTX_16 && command <= 0x28) {
                /* Every third or fourth corner ends a polygon. In strips, the first three or four
                 * corners do, then every corner or every second corner. */
                static const uint8_t first[4] = {3, 4, 3, 4}, every[4] = {3, 4, 1, 2};
                size.vertices++;
                corners++;
                size.polygons += corners >= first[kind] && (corners - first[kind]) % every[kind] == 0;
            }
            at += parameters(command);
        }
    }
    return size;
}
