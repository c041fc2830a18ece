/* Start, and one turn of the loop per picture: the race at the top, drawing in VBlank. */
#include "boot/boot_block.h"
#include "platform/card.h"
#include "platform/heap.h"
#include "platform/hw.h"
#include "platform/memory_map.h"
#include "screens/scene.h"
#include "screens/sound.h"

static void wait_for(uint32_t interrupt) {
    HW_IE = interrupt;
    while (!(HW_IF & interrupt)) {
        wait_for_interrupt();
    }
    HW_IF = interrupt;
}

static void wait_vblank(void) {
    HW_IF = HW_IRQ_VBLANK; /* ignore a VBlank that came during the frame's work */
    wait_for(HW_IRQ_VBLANK);
    HW_IF = HW_IRQ_LINE; /* the next picture's begin counts, also during this frame's work */
}

/* Timers 0 and 1 together count bus cycles. They run only while the host profiles. */
static uint32_t bus_cycles(void) {
    uint32_t high = HW_TIMER(1), low = HW_TIMER(0), again = HW_TIMER(1);
    return high == again ? high << 16 | low : again << 16 | HW_TIMER(0);
}

static void start_timers(void) {
    HW_TIMER_CONTROL(0) = HW_TIMER_CONTROL(1) = 0;
    HW_TIMER(0) = HW_TIMER(1) = 0;
    HW_TIMER_CONTROL(1) = 0x84; /* counts overflows of timer 0 */
    HW_TIMER_CONTROL(0) = 0x80;
}

static void profile(uint32_t hud, uint32_t race, uint32_t total) {
    PROFILE_BLOCK->hud = hud;
    PROFILE_BLOCK->race = race;
    PROFILE_BLOCK->draw = total - race - hud;
    PROFILE_BLOCK->total = total;
    if (total > PROFILE_BLOCK->worst) {
        PROFILE_BLOCK->worst = total;
    }
}

int main(void) {
    HW_EXMEMCNT &= (uint16_t)~0x8800; /* the ARM9 reads the cartridge and has priority in main RAM */
    SHARED_EXTKEYIN = 0x7F;
    HW_IE = HW_IRQ_VBLANK;
    HW_IF = ~0u;
    HW_DISPSTAT |= 1u << 3;
    HW_IME = 1; /* without IME, real hardware never wakes up */

    race_choice choice;
    int hosted = boot_read(&choice);
    if (choice.course_data) {
        heap_end_at(COURSE_DATA_START);
    }
    sound_init();
    card_init();
    if (!scene_start(hosted ? &choice : 0)) {
        boot_no_course();
    }
    dcache_clean();
    HW_DISPSTAT = 2u << 8 | 1u << 5 | 1u << 3; /* interrupts at VBlank and at line 2, after the ARM7's work */

    for (;;) {
        uint32_t early = 0;
        if (game.choice.alone) {
            wait_for(HW_IRQ_LINE); /* also counts when it came during the last picture's work */
            int profiling = PROFILE_BLOCK->magic == PROFILE_MAGIC;
            if (profiling) {
                start_timers();
            }
            int shown = scene_move_unseen();
            dcache_clean();
            if (profiling) {
                early = bus_cycles();
            }
            if (!shown) {
                if (profiling) {
                    profile(0, early, early);
                }
                continue;
            }
        }
        if (scene_moves_early()) {
            wait_for(HW_IRQ_LINE);
            int timed = PROFILE_BLOCK->magic == PROFILE_MAGIC;
            if (timed) {
                start_timers();
            }
            scene_move_early();
            dcache_clean();
            early = timed ? bus_cycles() : 0;
        }
        wait_vblank();
        int profiling = PROFILE_BLOCK->magic == PROFILE_MAGIC;
        if (!profiling) {
            scene_show();
            scene_move();
            scene_draw();
            dcache_clean();
            continue;
        }
        start_timers();
        scene_show();
        uint32_t hud = bus_cycles();
        scene_move();
        uint32_t race = bus_cycles() - hud;
        scene_draw();
        dcache_clean();
        profile(hud, early + race, early + bus_cycles());
    }
}
