/* The ARM7's whole work: hand X, Y and the pen, which only it can read, to the ARM9. */
#include "hw.h"
#include "memory_map.h"

void arm7_main(void) {
    HW_IME = 0;
    HW_IE = HW_IRQ_VBLANK;
    HW_DISPSTAT |= 1u << 3; /* ask for the VBlank interrupt */
    HW_IF = ~0u;
    HW_IME = 1;
    for (;;) {
        SHARED_EXTKEYIN = HW_EXTKEYIN;
        HW_IF = HW_IRQ_VBLANK;
        do {
            HW_HALTCNT = 0x80; /* sleep until an enabled interrupt asks */
        } while (!(HW_IF & HW_IRQ_VBLANK));
    }
}
