/* The ARM7's work at the top of each picture, before the ARM9 needs it: give the ARM9 the keys X and Y and the pen, which only the ARM7
 * can read, and the keys that went down; and play the ARM9's sounds. */
#include "platform/hw.h"
#include "platform/memory_map.h"
#include "platform/sound_block.h"

#define SOUND_CONTROL(channel) HW_R32(0x04000400 + 16 * (channel))
#define SOUND_SOURCE(channel) HW_R32(0x04000404 + 16 * (channel))
#define SOUND_TIMER(channel) HW_R16(0x04000408 + 16 * (channel))
#define SOUND_LOOP(channel) HW_R16(0x0400040A + 16 * (channel))
#define SOUND_WORDS(channel) HW_R32(0x0400040C + 16 * (channel))
#define SOUND_MASTER HW_R16(0x04000500)
#define SOUND_BIAS HW_R16(0x04000504)
#define POWER HW_R16(0x04000304)

/* Channels 8 to 13 can make squares, 14 and 15 noise; all can play waves. */
static const uint8_t channel_of[VOICES] = {0, 14, 8, 9, 15};
static struct sound_voice heard[VOICES];

static void voice_frame(int i) {
    volatile struct sound_voice *wanted = &SOUND_BLOCK->voices[i];
    struct sound_voice *now = &heard[i];
    uint32_t channel = channel_of[i], volume = wanted->volume;
    if (!volume) {
        if (now->volume) {
            now->volume = 0;
            SOUND_CONTROL(channel) = 0;
        }
        return;
    }
    int begin = !now->volume || now->strike != wanted->strike;
    if (begin) {
        now->strike = wanted->strike;
        now->timer = (uint16_t)~wanted->timer;
        now->shape = wanted->shape;
        SOUND_CONTROL(channel) = 0;
        if (wanted->source) {
            SOUND_SOURCE(channel) = wanted->source;
            SOUND_LOOP(channel) = 0;
            SOUND_WORDS(channel) = wanted->words;
        }
    }
    if (now->timer != wanted->timer) {
        SOUND_TIMER(channel) = now->timer = wanted->timer;
    }
    if (begin || now->volume != volume) {
        now->volume = (uint8_t)volume;
        SOUND_CONTROL(channel) = 1u << 31 | (uint32_t)now->shape << 16 | volume;
    }
}

void arm7_main(void) {
    HW_IME = 0;
    HW_IE = HW_IRQ_LINE;
    HW_DISPSTAT = 1u << 8 | 1u << 5; /* interrupt at line 1 */
    HW_IF = ~0u;
    HW_IME = 1;
    for (int i = 0; i < VOICES; i++) {
        heard[i].volume = 0; /* this memory is not cleared */
    }
    POWER |= 1;
    SOUND_BIAS = 0x200;
    SOUND_MASTER = 0x8000 | 127;
    uint16_t before = 0;
    for (;;) {
        SHARED_EXTKEYIN = HW_EXTKEYIN;
        uint16_t held = ~HW_KEYINPUT & 0x3FF;
        SHARED_TAPS |= held & (uint16_t)~before;
        before = held;
        if (SOUND_BLOCK->magic == SOUND_MAGIC) {
            for (int i = 0; i < VOICES; i++) {
                voice_frame(i);
            }
        }
        HW_IF = HW_IRQ_LINE;
        do {
            HW_HALTCNT = 0x80; /* sleep until an enabled interrupt occurs */
        } while (!(HW_IF & HW_IRQ_LINE));
    }
}
