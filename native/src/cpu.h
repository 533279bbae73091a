// Which instruction sets this CPU can run, the best first, as a row of names with a null at the end.
//
// The CPU is asked by its own instructions, which every compiler that can build the engine knows. __builtin_cpu_supports
// would need a runtime library that Clang does not link on Windows, and there <cpuid.h> and <intrin.h> both say __cpuid.
#pragma once

#if defined(__x86_64__)
// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, CPUID; volume 1, chapter 13, XCR0.
static const unsigned FMA = 1u << 12, OSXSAVE = 1u << 27, AVX = 1u << 28;     // leaf 1, ecx
static const unsigned AVX2 = 1u << 5, AVX512F = 1u << 16, AVX512DQ = 1u << 17;  // leaf 7, ebx
static const unsigned AVX512BW = 1u << 30, AVX512VL = 1u << 31;
// XCR0: which registers the system saves when it changes threads. It may be read where OSXSAVE is set.
static const unsigned YMM = 1u << 1 | 1u << 2, ZMM = 1u << 5 | 1u << 6 | 1u << 7;

struct registers {
    unsigned eax, ebx, ecx, edx;
};

static struct registers cpuid(unsigned leaf) {
    struct registers r;
    __asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(0));
    return r;
}

static unsigned xcr0(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static int has(unsigned bits, unsigned wanted) { return (bits & wanted) == wanted; }
#endif

static const char* const* instruction_sets_of_this_cpu(void) {
    static const char* const all[] = {"avx512", "avx2", "baseline", 0};
#if defined(__x86_64__)
    const unsigned most = cpuid(0).eax, features = cpuid(1).ecx, extended = most >= 7 ? cpuid(7).ebx : 0;
    const unsigned saved = has(features, OSXSAVE) ? xcr0() : 0;
    const int avx2 = has(features, AVX | FMA) && has(extended, AVX2) && has(saved, YMM);
#if defined(__APPLE__)
    const int zmm = 1;  // Darwin says that it saves them only once a thread has used them
#else
    const int zmm = has(saved, ZMM);
#endif
    const int avx512 = avx2 && zmm && has(extended, AVX512F | AVX512VL | AVX512DQ | AVX512BW);
    return all + (avx512 ? 0 : avx2 ? 1 : 2);
#else
    return all + 2;
#endif
}
