/* Counts the instructions that a program for AArch64 executes under qemu-user: all, loads and stores, SIMD and floating
 * point, branches. A line goes to the log whenever the program reads the clock, so that a program that reads it between its
 * steps is counted step by step; whenever it asks for its parent, which no runtime does by itself and so marks what is to be
 * counted; and at its end. Exact for one thread.
 *
 * Debian's qemu-user has plug-ins (API 1) but no header, so the few functions are declared here. */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t plugin_id;
typedef void translated(plugin_id, struct qemu_plugin_tb *);
typedef void system_call(plugin_id, unsigned cpu, int64_t number, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                         uint64_t, uint64_t, uint64_t);

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, translated *);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, system_call *);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int add_u64, void *, uint64_t);
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
extern void qemu_plugin_outs(const char *);

EXPORT int qemu_plugin_version = 1;

enum { ALL, MEMORY, SIMD, BRANCH, CLASSES };
/* clock_gettime and getppid of AArch64 Linux. */
enum { CLOCK = 113, PARENT = 173 };

static uint64_t executed[CLASSES];

/* A block of instructions is counted when it is entered, each class by the number that it holds. The classes are those of
 * bits 28 to 25 of the encoding (Arm ARM, C4.1). */
static void on_translated(plugin_id id, struct qemu_plugin_tb *block)
{
    size_t held[CLASSES] = {0};
    size_t count = qemu_plugin_tb_n_insns(block);
    for (size_t at = 0; at < count; at++) {
        const struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, at);
        const uint8_t *bytes = qemu_plugin_insn_data(instruction);
        if (qemu_plugin_insn_size(instruction) != 4)
            continue;
        unsigned group = bytes[3] >> 1 & 15;
        held[MEMORY] += (group & 5) == 4;
        held[SIMD] += (group & 7) == 7;
        held[BRANCH] += (group & 14) == 10;
    }
    held[ALL] = count;
    for (int class = 0; class < CLASSES; class++)
        if (held[class])
            qemu_plugin_register_vcpu_tb_exec_inline(block, 0, &executed[class], held[class]);
    (void)id;
}

static void print(const char *when)
{
    char line[160];
    snprintf(line, sizeof line, "%s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", when, executed[ALL],
             executed[MEMORY], executed[SIMD], executed[BRANCH]);
    qemu_plugin_outs(line);
}

static void on_system_call(plugin_id id, unsigned cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                           uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    if (number == CLOCK)
        print("clock");
    else if (number == PARENT)
        print("mark");
    (void)id, (void)cpu, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
}

static void on_exit(plugin_id id, void *data)
{
    print("end");
    (void)id, (void)data;
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translated);
    qemu_plugin_register_vcpu_syscall_cb(id, on_system_call);
    qemu_plugin_register_atexit_cb(id, on_exit, NULL);
    (void)info, (void)argc, (void)argv;
    return 0;
}
