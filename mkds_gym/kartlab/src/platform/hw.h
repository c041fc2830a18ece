/* Registers other than the picture hardware's (platform/gx.h). */
#pragma once

#include <stdint.h>

#define HW_R8(address) (*(volatile uint8_t *)(address))
#define HW_R16(address) (*(volatile uint16_t *)(address))
#define HW_R32(address) (*(volatile uint32_t *)(address))
#define HW_R64(address) (*(volatile uint64_t *)(address))

#define HW_DISPSTAT HW_R16(0x04000004)
#define HW_DMA_SOURCE(n) HW_R32(0x040000B0 + 12 * (n))
#define HW_DMA_DESTINATION(n) HW_R32(0x040000B4 + 12 * (n))
#define HW_DMA_CONTROL(n) HW_R32(0x040000B8 + 12 * (n)) /* the low 21 bits count */
#define HW_DMA_SAME_DESTINATION (2u << 21)
#define HW_DMA_WORDS (1u << 26)
#define HW_DMA_START (1u << 31) /* at once; reads 1 until done */
#define HW_TIMER(n) HW_R16(0x04000100 + 4 * (n))
#define HW_TIMER_CONTROL(n) HW_R16(0x04000102 + 4 * (n))
#define HW_KEYINPUT HW_R16(0x04000130)
#define HW_EXTKEYIN HW_R16(0x04000136) /* ARM7 only */
#define HW_IME HW_R32(0x04000208)
#define HW_IE HW_R32(0x04000210)
#define HW_IF HW_R32(0x04000214)
#define HW_IRQ_VBLANK 1u
#define HW_IRQ_LINE 4u /* the line in DISPSTAT's upper half begins */
#define HW_HALTCNT HW_R8(0x04000301) /* ARM7 only */

#define HW_AUXSPICNT HW_R16(0x040001A0)
#define HW_ROMCTRL HW_R32(0x040001A4)
#define HW_CARD_COMMAND(i) HW_R8(0x040001A8 + (i))
#define HW_CARD_DATA HW_R32(0x04100010)
#define HW_EXMEMCNT HW_R16(0x04000204)

#define HW_DIVCNT HW_R16(0x04000280)
#define HW_DIV_NUMERATOR HW_R64(0x04000290)
#define HW_DIV_DENOMINATOR HW_R64(0x04000298)
#define HW_DIV_RESULT HW_R64(0x040002A0)
#define HW_SQRTCNT HW_R16(0x040002B0)
#define HW_SQRT_RESULT HW_R32(0x040002B4)
#define HW_SQRT_PARAMETER HW_R64(0x040002B8)

/* Copy of the cartridge header that the firmware leaves in RAM. */
#define HW_CARD_HEADER 0x027FFE00u

/* boot/start9.s */
void dcache_clean(void);      /* write back all dirty lines: RAM then holds what the program wrote */
void wait_for_interrupt(void);
