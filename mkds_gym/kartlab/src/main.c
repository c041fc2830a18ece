/* Start, and one turn of the loop per VBlank. */
#include "draw.h"
#include "game.h"
#include "kart.h"

struct game game;
struct kart karts[DRIVERS_MAX];

__attribute__((weak)) void draw_init(const void *klm, uint32_t size) { (void)klm, (void)size; }
__attribute__((weak)) void hud_init(void) {}
__attribute__((weak)) void camera_update(void) {}
__attribute__((weak)) void camera_snap(void) {}
__attribute__((weak)) void draw_frame(void) {}
__attribute__((weak)) void hud_frame(void) {}

static void wait_vblank(void) {
    HW_IF = HW_IRQ_VBLANK; /* one that came while we worked does not count */
    do {
        wait_for_interrupt();
    } while (!(HW_IF & HW_IRQ_VBLANK));
    HW_IF = HW_IRQ_VBLANK;
}

static void read_keys(void) {
    uint32_t low = ~HW_KEYINPUT & 0x3FF, extra = ~SHARED_EXTKEYIN & 3;
    uint16_t held = (uint16_t)(low | extra << 10);
    game.pressed = held & (uint16_t)~game.keys;
    game.keys = held;
    INPUT_UNITS[0].held = game.keys;
    INPUT_UNITS[0].pressed = game.pressed;
}

/* Timers 0 and 1 in a chain count bus cycles; started and read only when profiling. */
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

int main(void) {
    HW_EXMEMCNT &= (uint16_t)~0x8800; /* the ARM9 reads the cartridge and goes first in main RAM */
    SHARED_EXTKEYIN = 0x7F;
    HW_IE = HW_IRQ_VBLANK;
    HW_IF = ~0u;
    HW_DISPSTAT |= 1u << 3;
    HW_IME = 1; /* without it, an accurate machine never wakes */

    race_choice choice;
    boot_read(&choice);
    if (choice.course_data) {
        heap_end_at(COURSE_DATA_START);
    }
    if (!race_start(&choice)) {
        boot_no_course();
        choice.course = DEFAULT_COURSE; /* run with the default, and say why in the answer */
        choice.course_data = 0;
        race_start(&choice);
    }
    draw_init(game.klm, game.klm_size);
    hud_init();
    race_publish();
    dcache_clean();

    for (;;) {
        wait_vblank();
        int profiling = PROFILE_BLOCK->magic == PROFILE_MAGIC;
        if (!profiling) {
            hud_frame();
            read_keys();
            race_frame();
            camera_update();
            draw_frame();
            dcache_clean();
            continue;
        }
        start_timers();
        hud_frame();
        uint32_t hud = bus_cycles();
        read_keys();
        race_frame();
        uint32_t race = bus_cycles();
        camera_update();
        draw_frame();
        dcache_clean();
        uint32_t total = bus_cycles();
        PROFILE_BLOCK->hud = hud;
        PROFILE_BLOCK->race = race - hud;
        PROFILE_BLOCK->draw = total - race;
        PROFILE_BLOCK->total = total;
        if (total > PROFILE_BLOCK->worst) {
            PROFILE_BLOCK->worst = total;
        }
    }
}
