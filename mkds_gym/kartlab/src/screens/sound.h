/* What is heard: an engine, tyres, and effects, played by the ARM7 (arm7.c).
 *
 * The ARM9 decides each frame what every voice sounds like and leaves that in a block that both
 * processors see; the ARM7, which alone can reach the sound channels, takes it from there at its
 * next VBlank.  Nothing of a race depends on it. */
#ifndef KARTLAB_SOUND_H
#define KARTLAB_SOUND_H

#include <stdint.h>

enum voice { VOICE_ENGINE, VOICE_TYRES, VOICE_LEAD, VOICE_EFFECT, VOICE_NOISE, VOICES };

/* One voice, in the shared block; the ARM9 writes it, the ARM7 only reads. */
struct sound_voice {
    uint32_t source;     /* address of the wave, 0: the channel makes its own */
    uint16_t words;      /* its length in words */
    uint16_t timer;      /* 65,536 - 16,756,991 Hz / samples a second */
    uint16_t shape;      /* SOUNDxCNT's upper half: pan, duty, repeat, format; not the start bit */
    uint8_t volume;      /* 0 to 127; 0 stops the channel */
    uint8_t strike;      /* another number: begin anew */
};

struct sound_block {
    uint32_t magic;      /* "KLSN" once the block is true */
    uint32_t struck;     /* effects begun since power-on: a count that a host may watch */
    struct sound_voice voices[VOICES];
};
#define SOUND_BLOCK ((volatile struct sound_block *)0x027FF000) /* the uncached mirror */
#define SOUND_MAGIC 0x4E534C4Bu

enum sound { SOUND_MOVE, SOUND_CHOOSE, SOUND_BACK, SOUND_PAUSE };

void sound_init(void);       /* once */
void sound_race(void);       /* at a race's start: nothing heard of it yet */
void sound_frame(void);      /* a frame of a race */
void sound_still(void);      /* a frame without one: effects ring out, engines are off */
void sound_play(enum sound sound);

#endif
