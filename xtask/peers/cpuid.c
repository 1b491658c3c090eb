/* Answers `cpuid` for programs that are to see a lesser CPU. mask.py has turned the instruction into `ud2` in copies of
 * their files; the signal that follows is caught here, and the answer given without what the level lacks.
 *
 *     cc -O2 -shared -fPIC -o cpuid.so cpuid.c
 *     EMBDL_CPUID=sse42 LD_PRELOAD=./cpuid.so PROGRAM
 *
 * Levels: sse42 is the Atom of Goldmont, avx2 any CPU without 512-bit vectors. Cache sizes and the vendor stay true. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define BIT(n) (1u << (n))

enum { EAX, EBX, ECX, EDX };

static int is_sse42;

/* What Goldmont has of leaf 7: FSGSBASE, SMEP, ERMS, RDSEED, SMAP, CLFLUSHOPT, SHA. */
static const uint32_t GOLDMONT_7_EBX = BIT(0) | BIT(7) | BIT(9) | BIT(18) | BIT(20) | BIT(23) | BIT(29);
/* FMA, XSAVE, OSXSAVE, AVX, F16C. */
static const uint32_t AVX_1_ECX = BIT(12) | BIT(26) | BIT(27) | BIT(28) | BIT(29);
/* LZCNT, SSE4A, XOP, FMA4, TBM. */
static const uint32_t AVX_EXTENDED_ECX = BIT(5) | BIT(6) | BIT(11) | BIT(16) | BIT(21);
/* AVX-512 F, DQ, IFMA, PF, ER, CD, BW, VL. */
static const uint32_t AVX512_7_EBX = BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31);
/* VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ. */
static const uint32_t AVX512_7_ECX = BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14);
/* 4VNNIW, 4FMAPS, VP2INTERSECT, AMX-BF16, AVX512-FP16, AMX-TILE, AMX-INT8. */
static const uint32_t AVX512_7_EDX = BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25);

static void limit(uint32_t leaf, uint32_t subleaf, uint32_t *answer)
{
    switch (leaf) {
    case 1:
        if (is_sse42) answer[ECX] &= ~AVX_1_ECX;
        break;
    case 7:
        if (is_sse42) {
            answer[EBX] &= subleaf == 0 ? GOLDMONT_7_EBX : 0;
            answer[EAX] = answer[ECX] = answer[EDX] = 0;
        } else if (subleaf == 0) {
            answer[EBX] &= ~AVX512_7_EBX;
            answer[ECX] &= ~AVX512_7_ECX;
            answer[EDX] &= ~AVX512_7_EDX;
        } else {
            /* Dot products of 256 bits and all that came after them. */
            memset(answer, 0, 4 * sizeof *answer);
        }
        break;
    case 0xd: /* what XSAVE saves */
        if (is_sse42) memset(answer, 0, 4 * sizeof *answer);
        break;
    case 0x19: case 0x1d: case 0x1e: case 0x24: /* Key Locker, AMX, AVX10 */
        memset(answer, 0, 4 * sizeof *answer);
        break;
    case 0x80000001:
        if (is_sse42) answer[ECX] &= ~AVX_EXTENDED_ECX;
        break;
    }
}

static void trapped(int number, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *at = (const uint8_t *)registers[REG_RIP];
    (void)info;
    if (at[0] != 0x0f || at[1] != 0x0b) {
        /* An instruction that is truly illegal: run into it again, without us. */
        signal(number, SIG_DFL);
        return;
    }
    uint32_t leaf = (uint32_t)registers[REG_RAX], subleaf = (uint32_t)registers[REG_RCX], answer[4];
    __cpuid_count(leaf, subleaf, answer[EAX], answer[EBX], answer[ECX], answer[EDX]);
    limit(leaf, subleaf, answer);
    registers[REG_RAX] = answer[EAX];
    registers[REG_RBX] = answer[EBX];
    registers[REG_RCX] = answer[ECX];
    registers[REG_RDX] = answer[EDX];
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void)
{
    const char *level = getenv("EMBDL_CPUID");
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO | SA_NODEFER};
    is_sse42 = level != NULL && strcmp(level, "sse42") == 0;
    sigaction(SIGILL, &action, NULL);
}
