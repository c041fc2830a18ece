/* The cartridge's file system. */
#pragma once

#include <stdint.h>

/* Once: reads the file tables. */
void card_init(void);

/* Reads a file into the heap; null if the file is missing. */
uint8_t *card_read_file(const char *path, uint32_t *size);
