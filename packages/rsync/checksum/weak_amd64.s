#include "textflag.h"

// Weights of the bytes in the sum of sums over 32 bytes: 32 for the first, 1
// for the last.
DATA first<>+0(SB)/8, $0x191a1b1c1d1e1f20
DATA first<>+8(SB)/8, $0x1112131415161718
GLOBL first<>(SB), RODATA|NOPTR, $16
DATA second<>+0(SB)/8, $0x090a0b0c0d0e0f10
DATA second<>+8(SB)/8, $0x0102030405060708
GLOBL second<>(SB), RODATA|NOPTR, $16

DATA bytes<>+0(SB)/8, $0x0101010101010101
DATA bytes<>+8(SB)/8, $0x0101010101010101
GLOBL bytes<>(SB), RODATA|NOPTR, $16
DATA words<>+0(SB)/8, $0x0001000100010001
DATA words<>+8(SB)/8, $0x0001000100010001
GLOBL words<>(SB), RODATA|NOPTR, $16

// func sums32(data []byte) (s1, s2 uint32)
//
// X0 adds up the bytes, X1 the weighted bytes of each 32, X2 what X0 was before
// each 32: in the end s2 = X1 + 32·X2. No product of weight and byte, added to
// its neighbours, leaves 16 bits.
TEXT ·sums32(SB), NOSPLIT, $0-32
	MOVQ  data_base+0(FP), SI
	MOVQ  data_len+8(FP), CX
	MOVOU bytes<>(SB), X8
	MOVOU words<>(SB), X9
	MOVOU first<>(SB), X10
	MOVOU second<>(SB), X11
	PXOR  X0, X0
	PXOR  X1, X1
	PXOR  X2, X2
	SHRQ  $5, CX
	JZ    done

loop:
	MOVOU     (SI), X3
	MOVOU     16(SI), X4
	MOVO      X8, X5
	MOVO      X8, X6
	PMADDUBSW X3, X5
	PMADDUBSW X4, X6
	PADDW     X6, X5
	PMADDWL   X9, X5
	MOVO      X10, X6
	MOVO      X11, X7
	PMADDUBSW X3, X6
	PMADDUBSW X4, X7
	PADDW     X7, X6
	PMADDWL   X9, X6
	PADDL     X0, X2
	PADDL     X5, X0
	PADDL     X6, X1
	ADDQ      $32, SI
	DECQ      CX
	JNZ       loop

done:
	PSLLL  $5, X2
	PADDL  X2, X1
	PSHUFD $0x4E, X0, X3
	PSHUFD $0x4E, X1, X4
	PADDL  X3, X0
	PADDL  X4, X1
	PSHUFD $0xB1, X0, X3
	PSHUFD $0xB1, X1, X4
	PADDL  X3, X0
	PADDL  X4, X1
	MOVQ   X0, AX
	MOVQ   X1, BX
	MOVL   AX, s1+24(FP)
	MOVL   BX, s2+28(FP)
	RET
