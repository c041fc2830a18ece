/* Tells the ARM7, which alone can reach the sound channels, what to play. The ARM9 writes the block
 * each frame; the ARM7 reads it at its next VBlank. */
#pragma once

#include <stdint.h>

enum voice { VOICE_ENGINE, VOICE_TYRES, VOICE_LEAD, VOICE_EFFECT, VOICE_NOISE, VOICES };

struct sound_voice {
    uint32_t source;     /* address of the wave, 0: the channel makes its own */
    uint16_t words;      /* its length in words */
    uint16_t timer;      /* 65,536 - 16,756,991 Hz / samples a second */
    uint16_t shape;      /* SOUNDxCNT's upper half: pan, duty, repeat, format; not the start bit */
    uint8_t volume;      /* 0 to 127; 0 stops the channel */
    uint8_t strike;      /* changes to start the voice again */
};

struct sound_block {
    uint32_t magic;      /* "KLSN" once the block is valid */
    uint32_t struck;     /* effects started since power-on: a count that a host may watch */
    struct sound_voice voices[VOICES];
};
#define SOUND_BLOCK ((volatile struct sound_block *)0x027FF000) /* the uncached mirror */
#define SOUND_MAGIC 0x4E534C4Bu
