/* A stack of zeroed memory. Allocations are only freed together, down to a mark. */
#pragma once

#include <stdint.h>

void *heap_allocate(uint32_t size); /* aligned to 32 bytes */
uint32_t heap_mark(void);
void heap_release(uint32_t mark);
void heap_end_at(uint32_t end);     /* memory from `end` on does not belong to the heap */
