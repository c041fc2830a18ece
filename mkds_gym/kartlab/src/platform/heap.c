#include "platform/heap.h"

#include "platform/hw.h"
#include "platform/memory_map.h"
#include <string.h>

static uint32_t heap_next = HEAP_START, heap_end = HEAP_END;

void *heap_allocate(uint32_t size) {
    uint32_t start = heap_next;
    size = (size + 31) & ~31u;
    if (size > heap_end - start) {
        for (;;) {
            wait_for_interrupt(); /* only a cartridge with too large a course gets here */
        }
    }
    heap_next = start + size;
    return memset((void *)start, 0, size);
}

uint32_t heap_mark(void) { return heap_next; }

void heap_release(uint32_t mark) {
    memset((void *)mark, 0, heap_next - mark); /* leave no trace of earlier contents */
    heap_next = mark;
}

void heap_end_at(uint32_t end) { heap_end = end; }
