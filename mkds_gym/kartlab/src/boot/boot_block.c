#include "boot/boot_block.h"

#include "platform/memory_map.h"

static uint32_t refused(const volatile boot_block *boot) {
    if (boot->version != 3 || boot->size != sizeof(boot_block)) {
        return BOOT_BAD_VERSION;
    }
    if (boot->laps > 9) {
        return BOOT_BAD_LAPS;
    }
    if (boot->engine_class > 2) {
        return BOOT_BAD_CLASS;
    }
    if (boot->mode != MODE_TIME_TRIAL && boot->mode != MODE_VS) {
        return BOOT_BAD_MODE;
    }
    if (boot->drivers < 1 || boot->drivers > DRIVERS_MAX || boot->strength > 2 ||
        (boot->mode == MODE_TIME_TRIAL && boot->drivers != 1)) {
        return BOOT_BAD_DRIVERS;
    }
    int alone = (boot->flags & BOOT_ALONE) != 0;
    if (alone ? boot->mode != MODE_TIME_TRIAL || boot->hosted < 1 || boot->hosted > DRIVERS_MAX
              : boot->hosted > boot->drivers || (boot->hosted && boot->mode != MODE_VS)) {
        return BOOT_BAD_HOSTED;
    }
    uint32_t start = boot->course_data, size = boot->course_size;
    if (start && (start < COURSE_DATA_START || (start & 3) || start >= COURSE_DATA_END ||
                  size > COURSE_DATA_END - start)) {
        return BOOT_BAD_COURSE_DATA;
    }
    return BOOT_ACCEPTED;
}

int boot_read(race_choice *choice) {
    volatile boot_block *boot = BOOT_BLOCK;
    *choice = race_choice_default();
    if (*(volatile uint32_t *)boot->magic != BOOT_MAGIC) {
        return 0;
    }
    boot->answer = refused(boot);
    if (boot->answer == BOOT_ACCEPTED) {
        *choice = (race_choice){
            .course = boot->course == 0xFFFFFFFFu ? DEFAULT_COURSE : boot->course,
            .laps = boot->laps,
            .mode = boot->mode,
            .engine_class = boot->engine_class,
            .drivers = boot->drivers,
            .strength = boot->strength,
            .seed = boot->seed,
            .grid = boot->grid < boot->drivers ? boot->grid : boot->drivers - (boot->hosted && boot->mode == MODE_VS ? boot->hosted : 1),
            .hosted = boot->hosted,
            .alone = (boot->flags & BOOT_ALONE) != 0,
            .mirror = (boot->flags & BOOT_MIRROR) != 0,
            .items = (boot->flags & BOOT_ITEMS) != 0,
            .skip_countdown = (boot->flags & BOOT_SKIP_COUNTDOWN) != 0,
            .sound = (boot->flags & BOOT_SOUND) != 0,
            .course_data = boot->course_data ? (const uint8_t *)boot->course_data : 0,
            .course_size = boot->course_size,
        };
    }
    *(volatile uint32_t *)boot->magic = 0;
    if (choice->hosted) {
        HOST_BLOCK->magic = HOST_MAGIC;
    }
    return 1;
}

void boot_no_course(void) { BOOT_BLOCK->answer = BOOT_NO_COURSE; }
