// Which instruction sets this CPU can run, the best first. A module of its own, compiled for the baseline, because it has
// to run before anything else is chosen.
#define Py_LIMITED_API 0x030A0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyObject* instruction_sets(PyObject* self, PyObject* none) {
    (void)self;
    (void)none;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
    if (avx512) return Py_BuildValue("(sss)", "avx512", "avx2", "baseline");
    if (avx2) return Py_BuildValue("(ss)", "avx2", "baseline");
#endif
    return Py_BuildValue("(s)", "baseline");
}

static PyMethodDef methods[] = {
    {"instruction_sets", instruction_sets, METH_NOARGS, "The instruction sets that this CPU can run, the best first."},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_cpu", "What this CPU can run.", -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__cpu(void) { return PyModule_Create(&module); }
