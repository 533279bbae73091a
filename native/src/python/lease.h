#pragma once

#include <nanobind/nanobind.h>

#include <utility>

#include "compiled.h"

namespace chainrule {

// Who uses a network holds one of these; when it goes, the numbers go back to Python, and the network's memory with them.
// The end of an object of Python's must run nothing of Python's: an exception there would be lost.
class Lease {
public:
    explicit Lease(nb::object compiled) : compiled_(std::move(compiled)) {}
    Lease(const Lease&) = delete;
    ~Lease() { end(); }

    static int traverse(PyObject* self, visitproc visit, void* arg) {
        Py_VISIT(Py_TYPE(self));
        if (nb::inst_ready(self)) Py_VISIT(nb::inst_ptr<Lease>(self)->compiled_.ptr());
        return 0;
    }
    static int clear(PyObject* self) {
        nb::inst_ptr<Lease>(self)->end();
        return 0;
    }

private:
    void end() {
        if (!compiled_.is_valid()) return;
        const nb::error_scope pending;
        try {
            Compiled& home = nb::cast<Compiled&>(compiled_);
            home.give_state();
            home.release();
        } catch (...) {
            PyErr_Clear();  // they stay where they are, and are found there
        }
        compiled_.reset();
    }
    nb::object compiled_;
};

}  // namespace chainrule
