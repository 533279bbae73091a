// Which instruction sets this CPU can run, for Python. A module of its own, compiled for the baseline, because it has to
// run before anything else is chosen.
#define Py_LIMITED_API 0x030A0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "cpu.h"

static PyObject* instruction_sets(PyObject* self, PyObject* none) {
    (void)self;
    (void)none;
    const char* const* names = instruction_sets_of_this_cpu();
    Py_ssize_t n = 0;
    while (names[n]) ++n;
    PyObject* tuple = PyTuple_New(n);
    for (Py_ssize_t i = 0; tuple && i < n; ++i) {
        PyObject* name = PyUnicode_FromString(names[i]);
        if (!name || PyTuple_SetItem(tuple, i, name) != 0) Py_CLEAR(tuple);
    }
    return tuple;
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
