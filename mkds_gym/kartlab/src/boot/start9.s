@ ARM9 entry: memory protection and caches, stack, cleared data, main.
@
@ The image starts at 0x02000000 but code only at 0x02000800: an accurate machine overwrites
@ the first 0x800 bytes (the cartridge's "secure area") when it is not properly encrypted.

    .cpu arm946e-s
    .arm
    .section .start, "ax"
    .global _start
_start:
    msr cpsr_c, #0xDF                   @ system mode, interrupts off: nothing here needs a handler
    mov r0, #0x04000000
    str r0, [r0, #0x208]                @ IME = 0 while setting up (bit 0 of the address is 0)

    ldr r0, =0x00002078                 @ caches, MPU, tightly coupled memories off; vectors high
    mcr p15, 0, r0, c1, c0, 0
    mov r0, #0
    mcr p15, 0, r0, c7, c5, 0           @ invalidate instruction cache
    mcr p15, 0, r0, c7, c6, 0           @ invalidate data cache
    mcr p15, 0, r0, c7, c10, 4          @ drain write buffer

    ldr r0, =0x0B00000A                 @ DTCM: 16 KiB at 0x0B000000
    mcr p15, 0, r0, c9, c1, 0
    mov r0, #0x00000020                 @ ITCM: 32 KiB mirrored up to 0x02000000
    mcr p15, 0, r0, c9, c1, 1

    ldr r1, =regions
    ldmia r1!, {r2-r9}
    mcr p15, 0, r2, c6, c0, 0
    mcr p15, 0, r3, c6, c1, 0
    mcr p15, 0, r4, c6, c2, 0
    mcr p15, 0, r5, c6, c3, 0
    mcr p15, 0, r6, c6, c4, 0
    mcr p15, 0, r7, c6, c5, 0
    mcr p15, 0, r8, c6, c6, 0
    mcr p15, 0, r9, c6, c7, 0
    mov r0, #0x02                       @ region 1, main RAM: cached and buffered
    mcr p15, 0, r0, c2, c0, 0           @ data
    mcr p15, 0, r0, c2, c0, 1           @ instructions
    mcr p15, 0, r0, c3, c0, 0
    ldr r0, =0x33333333                 @ full access everywhere
    mcr p15, 0, r0, c5, c0, 2
    mcr p15, 0, r0, c5, c0, 3
    ldr r0, =0x0005707D                 @ MPU, both caches, both TCMs, round robin, high vectors
    mcr p15, 0, r0, c1, c0, 0

    ldr sp, =__stack_top                @ end of the DTCM

    ldr r0, =__itcm_load                @ code that runs every frame, to the fast memory
    ldr r1, =__itcm_start
    ldr r2, =__itcm_end
copy:
    cmp r1, r2
    ldrlo r3, [r0], #4
    strlo r3, [r1], #4
    blo copy

    ldr r0, =__bss_start
    ldr r1, =__bss_end
    bl clear
    ldr r0, =__fixed_start
    ldr r1, =__fixed_end
    bl clear
    bl main
hang:
    bl wait_for_interrupt
    b hang

clear:                                  @ r0 up to r1, both multiples of 4
    mov r2, #0
1:  cmp r0, r1
    strlo r2, [r0], #4
    blo 1b
    bx lr

    .global wait_for_interrupt
wait_for_interrupt:
    mov r0, #0
    mcr p15, 0, r0, c7, c0, 4
    bx lr

@ Clean the whole data cache: 4 ways of 32 lines of 32 bytes, by way and set.
    .global dcache_clean
dcache_clean:
    mov r1, #0
2:  mov r0, r1
3:  mcr p15, 0, r0, c7, c10, 2
    add r0, r0, #0x20
    tst r0, #0x400
    beq 3b
    adds r1, r1, #0x40000000
    bcc 2b
    mov r0, #0
    mcr p15, 0, r0, c7, c10, 4          @ drain write buffer
    bx lr

@ base | (log2(size) - 1) << 1 | enable; a higher region wins.
regions:
    .word 0x04000033                    @ 0: 64 MiB, registers, palettes, video memory
    .word 0x0200002B                    @ 1: 4 MiB main RAM, cached
    .word 0x0240002B                    @ 2: 4 MiB its mirror, uncached: shared with the ARM7
    .word 0x0B00001B                    @ 3: 16 KiB DTCM
    .word 0x0100002F                    @ 4: 16 MiB up to 0x02000000, with the ITCM (at 0x01FF8000)
    .word 0xFFFF001D                    @ 5: 32 KiB BIOS
    .word 0x00000000                    @ 6: off
    .word 0x00000000                    @ 7: off
    .pool
