@ ARM7 entry.
    .cpu arm7tdmi
    .arm
    .section .start, "ax"
    .global _start7
_start7:
    msr cpsr_c, #0xDF                   @ system mode, interrupts off
    ldr sp, =0x0380FF00
    bl arm7_main
1:  b 1b
    .pool
