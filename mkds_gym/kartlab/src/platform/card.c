/* Reads the card port by polling. */
#include "platform/card.h"

#include "platform/bytes.h"
#include "platform/heap.h"
#include "platform/hw.h"

enum { BLOCK = 0x200 };

/* Header fields: ROM offsets and sizes in bytes. */
#define HEADER_FNT HW_R32(HW_CARD_HEADER + 0x40)
#define HEADER_FNT_SIZE HW_R32(HW_CARD_HEADER + 0x44)
#define HEADER_FAT HW_R32(HW_CARD_HEADER + 0x48)
#define HEADER_FAT_SIZE HW_R32(HW_CARD_HEADER + 0x4C)
#define HEADER_PORT_SETTINGS HW_R32(HW_CARD_HEADER + 0x60)

/* Command B7 reads a block of 0x200 bytes. `offset` is a multiple of 0x200, as a read must not
 * cross a page of 0x1000. */
static void read_block(uint32_t offset, uint32_t *to) {
    HW_AUXSPICNT = 0x8000; /* slot on, ROM mode, no interrupt */
    HW_CARD_COMMAND(0) = 0xB7;
    HW_CARD_COMMAND(1) = (uint8_t)(offset >> 24);
    HW_CARD_COMMAND(2) = (uint8_t)(offset >> 16);
    HW_CARD_COMMAND(3) = (uint8_t)(offset >> 8);
    HW_CARD_COMMAND(4) = (uint8_t)offset;
    HW_CARD_COMMAND(5) = HW_CARD_COMMAND(6) = HW_CARD_COMMAND(7) = 0;
    /* start, keep reset released, block of 0x200, gaps and encryption from the header */
    HW_ROMCTRL = 0xA1000000u | (HEADER_PORT_SETTINGS & 0x007FFFFFu);
    uint32_t *end = to + BLOCK / 4, status;
    do {
        status = HW_ROMCTRL;
        if ((status & 0x00800000u) && to < end) {
            *to++ = HW_CARD_DATA;
        }
    } while (status & 0x80000000u);
}

static uint8_t *read_range(uint32_t offset, uint32_t size) {
    uint32_t start = offset & ~(BLOCK - 1u), end = (offset + size + BLOCK - 1) & ~(BLOCK - 1u);
    uint8_t *data = heap_allocate(end - start);
    for (uint32_t at = start; at < end; at += BLOCK) {
        read_block(at, (uint32_t *)(data + (at - start)));
    }
    return data + (offset - start);
}

static const uint8_t *name_table, *allocation_table;

/* Returns the id of the entry `name` (up to '/' or the end) in a folder: the number of a file,
 * 0xF000 and up for a folder, -1 if the entry is missing. */
static int find(uint32_t folder, const char *name) {
    const uint8_t *main_entry = name_table + (folder & 0xFFF) * 8;
    const uint8_t *entry = name_table + get32(main_entry);
    int file = (int)get16(main_entry + 4);
    while (*entry) {
        uint32_t length = *entry & 0x7F, is_folder = *entry & 0x80, i = 0;
        while (i < length && name[i] == (char)entry[1 + i]) {
            i++;
        }
        int same = i == length && (name[i] == 0 || name[i] == '/');
        if (same) {
            return is_folder ? (int)get16(entry + 1 + length) : file;
        }
        entry += 1 + length;
        if (is_folder) {
            entry += 2;
        } else {
            file++;
        }
    }
    return -1;
}

void card_init(void) {
    if (HEADER_FNT_SIZE && HEADER_FAT_SIZE) {
        name_table = read_range(HEADER_FNT, HEADER_FNT_SIZE);
        allocation_table = read_range(HEADER_FAT, HEADER_FAT_SIZE);
    }
}

uint8_t *card_read_file(const char *path, uint32_t *size) {
    if (!name_table) {
        return 0;
    }
    int id = 0xF000;
    for (;;) {
        id = find((uint32_t)id, path);
        if (id < 0) {
            return 0;
        }
        while (*path && *path != '/') {
            path++;
        }
        if (!*path) {
            break;
        }
        path++;
        if (id < 0xF000) {
            return 0; /* a file where the path has a folder */
        }
    }
    if (id >= 0xF000 || (uint32_t)id * 8 >= HEADER_FAT_SIZE) {
        return 0;
    }
    uint32_t start = get32(allocation_table + id * 8), end = get32(allocation_table + id * 8 + 4);
    *size = end - start;
    return read_range(start, end - start);
}
