// Runs the kernels on a CPU, one block after the other and each thread as a fiber: a program that reads launches from its input
// and answers with what memory holds afterwards, until the input ends. For tests, which know its format: numbers of 64 bits.
//
//     launch: order, name's length, name, grid (3), threads, parameters' length, parameters, regions,
//             then of each region its address and length, and of all their bytes
//     answer: 1 and the bytes of all regions, or 0, a length, and what is wrong
//
// Threads run from the first to the last (order 0) or from the last to the first (order 1), each until it waits: where a barrier
// is missing, one order or the other gives other results. Regions lie at the addresses that they are asked to, the bytes between
// them poisoned, so that the address sanitizer ends the program at any access beside them.
#include "embdl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define __sanitizer_start_switch_fiber(save, bottom, size) ((void)(save), (void)(bottom), (void)(size))
#define __sanitizer_finish_switch_fiber(save, bottom, size) ((void)(save), (void)(bottom), (void)(size))
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

static HostKernel* kernels;

HostKernel::HostKernel(const char* name, size_t params_bytes, u32 threads, void (*run)(const void*))
    : name(name), params_bytes(params_bytes), threads(threads), run(run), next(kernels) {
    kernels = this;
}

enum State { READY, AT_BARRIER, AT_SHUFFLE, DONE };

struct Fiber {
    ucontext_t context;
    void* stack;
    void* fake_stack;
    State state;
    u32 exchanged, mask;
};

constexpr u32 MAX_THREADS = 1024;
constexpr size_t STACK = 256 << 10;

static Fiber fibers[MAX_THREADS];
static u32 current, threads, block[3];
static ucontext_t scheduler;
static void* scheduler_fake;
static const void* scheduler_bottom;
static size_t scheduler_size;
static const HostKernel* kernel;
static const void* params;

u32 thread() { return current; }
u32 block_x() { return block[0]; }
u32 block_y() { return block[1]; }
u32 block_z() { return block[2]; }

// Goes back to the scheduler until what the thread waits for is there.
static void wait_for(State state) {
    Fiber& me = fibers[current];
    me.state = state;
    __sanitizer_start_switch_fiber(&me.fake_stack, scheduler_bottom, scheduler_size);
    swapcontext(&me.context, &scheduler);
    __sanitizer_finish_switch_fiber(me.fake_stack, &scheduler_bottom, &scheduler_size);
}

void sync() { wait_for(AT_BARRIER); }

u32 host_exchange(u32 value, u32 mask) {
    fibers[current].exchanged = value;
    fibers[current].mask = mask;
    wait_for(AT_SHUFFLE);
    // Whoever runs again finds what its neighbours brought, since none of them can bring more before all have.
    return fibers[current].exchanged;
}

static void body() {
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_bottom, &scheduler_size);
    for (;;) {
        kernel->run(params);
        wait_for(DONE);
    }
}

static void enter(u32 number) {
    current = number;
    Fiber& fiber = fibers[number];
    __sanitizer_start_switch_fiber(&scheduler_fake, fiber.stack, STACK);
    swapcontext(&scheduler, &fiber.context);
    __sanitizer_finish_switch_fiber(scheduler_fake, nullptr, nullptr);
}

static void make_fibers(u32 count) {
    for (u32 i = 0; i < count; i++) {
        Fiber& fiber = fibers[i];
        if (!fiber.stack) {
            fiber.stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (fiber.stack == MAP_FAILED) {
                abort();
            }
            getcontext(&fiber.context);
            fiber.context.uc_stack.ss_sp = fiber.stack;
            fiber.context.uc_stack.ss_size = STACK;
            fiber.context.uc_link = nullptr;
            makecontext(&fiber.context, body, 0);
        }
    }
}

// Lets a warp go on whose threads all are at a shuffle, with each other's values.
static bool release_warp(u32 first) {
    u32 values[32], last = first + 32 < threads ? first + 32 : threads;
    for (u32 i = first; i < last; i++) {
        if (fibers[i].state != AT_SHUFFLE) {
            return false;
        }
        values[i - first] = fibers[i].exchanged;
    }
    if (last != first + 32) {
        return false;
    }
    for (u32 i = first; i < last; i++) {
        fibers[i].exchanged = values[(i - first) ^ (fibers[i].mask % 32)];
        fibers[i].state = READY;
    }
    return true;
}

// Runs one block. What is wrong, or null.
static const char* run_block(u64 order) {
    for (u32 i = 0; i < threads; i++) {
        fibers[i].state = READY;
    }
    for (;;) {
        for (u32 i = 0; i < threads; i++) {
            const u32 number = order == 0 ? i : threads - 1 - i;
            if (fibers[number].state == READY) {
                enter(number);
            }
        }
        bool goes_on = false;
        for (u32 first = 0; first < threads; first += 32) {
            goes_on = release_warp(first) || goes_on;
        }
        if (goes_on) {
            continue;
        }
        u32 waiting = 0, done = 0;
        for (u32 i = 0; i < threads; i++) {
            waiting += fibers[i].state == AT_BARRIER;
            done += fibers[i].state == DONE;
        }
        if (done == threads) {
            return nullptr;
        }
        if (waiting + done != threads) {
            return "some threads of a warp are at a shuffle that others never reach";
        }
        for (u32 i = 0; i < threads; i++) {
            fibers[i].state = fibers[i].state == AT_BARRIER ? READY : DONE;
        }
    }
}

#if defined(EMBDL_POISON)
extern "C" u8 __start_embdl_shared[], __stop_embdl_shared[];
#endif

static const char* run_grid(const u64* grid, u64 order) {
    for (block[2] = 0; block[2] < grid[2]; block[2]++) {
        for (block[1] = 0; block[1] < grid[1]; block[1]++) {
            for (block[0] = 0; block[0] < grid[0]; block[0]++) {
#if defined(EMBDL_POISON)
                memset(__start_embdl_shared, 0xff, __stop_embdl_shared - __start_embdl_shared);
#endif
                if (const char* wrong = run_block(order)) {
                    return wrong;
                }
            }
        }
    }
    return nullptr;
}

static bool try_read(void* at, size_t size) { return fread(at, 1, size, stdin) == size; }

static void need(void* at, size_t size) {
    if (!try_read(at, size)) {
        fputs("the input ends in a launch\n", stderr);
        exit(1);
    }
}

static u64 number() {
    u64 value;
    need(&value, sizeof value);
    return value;
}

struct Region {
    u64 address, size;
};

static Region regions[64];
static u64 region_count;

// Memory for all regions and what is between them, which is poisoned.
static u8* map_regions(size_t* all) {
    const u64 first = regions[0].address & ~4095ull;
    const Region& last = regions[region_count - 1];
    *all = (last.address + last.size - first + 4096 + 4095) & ~4095ull;
    void* at = mmap((void*)first, *all, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (at != (void*)first) {
        fputs("the regions cannot be where they should\n", stderr);
        exit(1);
    }
    ASAN_POISON_MEMORY_REGION(at, *all);
    for (u64 i = 0; i < region_count; i++) {
        ASAN_UNPOISON_MEMORY_REGION((void*)regions[i].address, regions[i].size);
        need((void*)regions[i].address, regions[i].size);
    }
    return (u8*)at;
}

static void answer(const char* wrong) {
    const u64 is_good = wrong == nullptr;
    fwrite(&is_good, sizeof is_good, 1, stdout);
    if (wrong) {
        const u64 size = strlen(wrong);
        fwrite(&size, sizeof size, 1, stdout);
        fwrite(wrong, 1, size, stdout);
    }
    for (u64 i = 0; i < region_count && !wrong; i++) {
        fwrite((void*)regions[i].address, 1, regions[i].size, stdout);
    }
    fflush(stdout);
}

int main() {
    alignas(16) static u8 params_bytes[4096];
    u64 order;
    while (try_read(&order, sizeof order)) {
        char name[128] = {};
        const u64 name_size = number();
        if (name_size >= sizeof name) {
            return 1;
        }
        need(name, name_size);
        u64 grid[3] = {number(), number(), number()};
        threads = (u32)number();
        const u64 params_size = number();
        if (params_size > sizeof params_bytes) {
            return 1;
        }
        need(params_bytes, params_size);
        region_count = number();
        if (region_count == 0 || region_count > sizeof regions / sizeof *regions) {
            return 1;
        }
        for (u64 i = 0; i < region_count; i++) {
            regions[i].address = number();
            regions[i].size = number();
        }
        size_t all;
        u8* memory = map_regions(&all);
        kernel = kernels;
        while (kernel && strcmp(kernel->name, name) != 0) {
            kernel = kernel->next;
        }
        params = params_bytes;
        if (!kernel) {
            answer("there is no such kernel");
        } else if (kernel->threads != threads || threads > MAX_THREADS) {
            answer("the kernel has another number of threads");
        } else if (kernel->params_bytes != params_size) {
            answer("the kernel takes other parameters");
        } else {
            make_fibers(threads);
            answer(run_grid(grid, order));
        }
        ASAN_UNPOISON_MEMORY_REGION(memory, all);
        munmap(memory, all);
    }
    return 0;
}
