// Which instruction sets this CPU can run, the best first. A module of its own, compiled for the baseline, because it has
// to run before anything else is chosen.
//
// The CPU is asked by its own instructions, which every compiler that can build the engine knows. __builtin_cpu_supports
// would need a runtime library that Clang does not link on Windows, and there <cpuid.h> and <intrin.h> both say __cpuid.
#define Py_LIMITED_API 0x030A0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

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

static PyObject* instruction_sets(PyObject* self, PyObject* none) {
    (void)self;
    (void)none;
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
    if (avx512) return Py_BuildValue("(sss)", "avx512", "avx2", "baseline");
    if (avx2) return Py_BuildValue("(ss)", "avx2", "baseline");
#endif
    return Py_BuildValue("(s)", "baseline");
}

static PyObject* is_main_interpreter(PyObject* self, PyObject* none) {
    (void)self;
    (void)none;
    return PyBool_FromLong(PyInterpreterState_GetID(PyInterpreterState_Get()) == 0);
}

static PyMethodDef methods[] = {
    {"instruction_sets", instruction_sets, METH_NOARGS, "The instruction sets that this CPU can run, the best first."},
    {"is_main_interpreter", is_main_interpreter, METH_NOARGS, "Whether this is the interpreter that Python began with."},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_cpu", "What this CPU can run.", -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__cpu(void) { return PyModule_Create(&module); }
