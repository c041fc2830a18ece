/* A course's archive: LZ77 (type 0x10) around a NARC. */
#pragma once

#include <stdint.h>

/* Unpacks into the heap; null when the data are damaged. */
uint8_t *lz_unpack(const uint8_t *data, uint32_t size, uint32_t *unpacked_size);

/* A file in the root of a NARC; null if the file is missing. */
const uint8_t *narc_file(const uint8_t *narc, uint32_t narc_size, const char *name, uint32_t *size);
