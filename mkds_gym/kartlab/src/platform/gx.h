/* The picture hardware: registers and packed geometry commands (GBATEK's names). Video memory takes
 * 16 and 32 bit writes only and ignores 8 bit writes. */
#pragma once

#include <stdint.h>

#define GX_R8(address) (*(volatile uint8_t *)(address))
#define GX_R16(address) (*(volatile uint16_t *)(address))
#define GX_R32(address) (*(volatile uint32_t *)(address))

/* Registers of both engines: the sub engine's lie 0x1000 above the main engine's. */
#define GX_MAIN 0x04000000u
#define GX_SUB 0x04001000u
#define GX_DISPCNT(engine) GX_R32((engine) + 0x00)
#define GX_BGCNT(engine, bg) GX_R16((engine) + 0x08 + 2 * (bg))
#define GX_BGHOFS(engine, bg) GX_R16((engine) + 0x10 + 4 * (bg))
#define GX_BGVOFS(engine, bg) GX_R16((engine) + 0x12 + 4 * (bg))
#define GX_BG3P(engine, i) GX_R16((engine) + 0x30 + 2 * (i)) /* PA PB PC PD */
#define GX_BG3X(engine) GX_R32((engine) + 0x38)
#define GX_BG3Y(engine) GX_R32((engine) + 0x3C)
#define GX_MASTER_BRIGHT(engine) GX_R16((engine) + 0x6C)

#define GX_POWCNT GX_R16(0x04000304)
#define GX_VRAMCNT(bank) GX_R8(0x04000240 + (bank)) /* banks A..G are 0..6 */

#define GX_DISP3DCNT GX_R16(0x04000060)
#define GX_CLEAR_COLOR GX_R32(0x04000350)
#define GX_CLEAR_DEPTH GX_R16(0x04000354)
#define GX_STAT GX_R32(0x04000600)
#define GX_RAM_COUNT GX_R32(0x04000604) /* bits 0-11 polygons, 16-28 vertices */

/* Port of the packed commands; STM repeats the port up to 0x0400043F. */
#define GX_FIFO GX_R32(0x04000400)

/* Command numbers. Four of them make a FIFO word, the first in the low byte. */
#define GX_NOP 0x00
#define GX_MTX_MODE 0x10
#define GX_MTX_PUSH 0x11
#define GX_MTX_POP 0x12
#define GX_MTX_STORE 0x13
#define GX_MTX_RESTORE 0x14
#define GX_MTX_IDENTITY 0x15
#define GX_MTX_LOAD_4X4 0x16
#define GX_MTX_LOAD_4X3 0x17
#define GX_MTX_MULT_4X3 0x19
#define GX_MTX_SCALE 0x1B
#define GX_COLOR 0x20
#define GX_NORMAL 0x21
#define GX_VTX_16 0x23
#define GX_VTX_10 0x24
#define GX_POLYGON_ATTR 0x29
#define GX_TEXIMAGE_PARAM 0x2A
#define GX_DIF_AMB 0x30
#define GX_SPE_EMI 0x31
#define GX_LIGHT_VECTOR 0x32
#define GX_LIGHT_COLOR 0x33
#define GX_BEGIN_VTXS 0x40
#define GX_END_VTXS 0x41
#define GX_SWAP_BUFFERS 0x50
#define GX_VIEWPORT 0x60
#define GX_PACK(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

#define GX_TRIANGLES 0
#define GX_QUADS 1
#define GX_QUAD_STRIP 3

#define GX_MODE_PROJECTION 0
#define GX_MODE_POSITION 1
#define GX_MODE_POSITION_VECTOR 2
#define GX_MODE_TEXTURE 3

/* POLYGON_ATTR */
#define GX_LIGHTS(mask) (mask)
#define GX_BACK_FACES (1u << 6)
#define GX_FRONT_FACES (1u << 7)
#define GX_FAR_CLIPPED (1u << 12) /* clip polygons at the far plane instead of dropping them */
#define GX_ALPHA(a) ((uint32_t)(a) << 16)
#define GX_POLYGON_ID(id) ((uint32_t)(id) << 24)

#define RGB15(r, g, b) ((uint16_t)((r) | (g) << 5 | (b) << 10))
