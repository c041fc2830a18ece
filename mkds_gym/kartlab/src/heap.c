#include "game.h"
#include <string.h>

static uint32_t heap_next = HEAP_START;

void *heap_allocate(uint32_t size) {
    uint32_t start = heap_next;
    size = (size + 31) & ~31u;
    if (size > HEAP_END - start) {
        for (;;) {
            wait_for_interrupt(); /* only a cartridge packed with too large a course gets here */
        }
    }
    heap_next = start + size;
    return memset((void *)start, 0, size);
}
