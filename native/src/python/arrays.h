// Arrays of Python's that belong to parameters and optimizers, read and written where they lie.
#pragma once

#include <nanobind/nanobind.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "../plan.h"

namespace chainrule {

namespace nb = nanobind;

inline const char* name_of(DType dtype) { return dtype == DType::float32 ? "float32" : "float64"; }

// Whether a buffer holds numbers of the dtype, in this machine's byte order.
inline bool holds(const Py_buffer& view, DType dtype) {
    const char* format = view.format;
    if (!format) return false;
    if (format[0] == '=' || format[0] == '<' || format[0] == '@') ++format;
    return format[0] == (dtype == DType::float32 ? 'f' : 'd') && format[1] == 0;
}

// A whole array of a known dtype and shape, however it lies in memory; `fits` says whether it is one.
class Whole {
public:
    Whole(nb::handle array, nb::handle type, DType dtype, const ParameterShape& shape, bool writable) {
        if (!array.type().is(type)) return;  // a subclass may mean something else by its numbers
        const int flags = PyBUF_STRIDES | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(array.ptr(), &view_, flags) != 0) {
            PyErr_Clear();
            return;
        }
        fits = holds(view_, dtype) && shape.has_axes(view_.ndim, view_.shape);
        dense_ = PyBuffer_IsContiguous(&view_, 'C');
        if (fits && !dense_) copy_.resize(size_t(view_.len));
    }
    Whole(Whole&& other) noexcept
        : fits(other.fits), view_(other.view_), dense_(other.dense_), copy_(std::move(other.copy_)) {
        other.view_.obj = nullptr;
    }
    ~Whole() {
        if (view_.obj) PyBuffer_Release(&view_);
    }

    // The numbers in C order, for the engine to read.
    const void* numbers() {
        if (dense_) return view_.buf;
        if (PyBuffer_ToContiguous(copy_.data(), &view_, view_.len, 'C') != 0) throw nb::python_error();
        return copy_.data();
    }
    // Where the engine may write them in C order, and, after it, the copy of what it wrote to where it belongs.
    void* room() { return dense_ ? view_.buf : copy_.data(); }
    void filled() {
        if (!dense_ && PyBuffer_FromContiguous(&view_, copy_.data(), view_.len, 'C') != 0) throw nb::python_error();
    }

    // From its first byte to behind its last, whatever lies between them.
    std::pair<const char*, const char*> bounds() const {
        if (!view_.obj) return {nullptr, nullptr};
        const char *first = static_cast<const char*>(view_.buf), *last = first + view_.itemsize;
        for (int i = 0; i < view_.ndim; ++i) {
            const Py_ssize_t reach = (view_.shape[i] - 1) * view_.strides[i];
            (reach < 0 ? first : last) += reach;
        }
        return {first, last};
    }
    // Whether it may have numbers among these bytes.
    bool touches(const void* begin, size_t bytes) const {
        const auto [first, last] = bounds();
        return first < static_cast<const char*>(begin) + bytes && static_cast<const char*>(begin) < last;
    }

    bool fits = false;

private:
    Py_buffer view_{};
    bool dense_ = true;
    std::vector<char> copy_;
};

// One integer that Python keeps in an array.array("q") of length 1, and both sides count on.
class Counter {
public:
    Counter() = default;
    Counter(const Counter&) = delete;
    ~Counter() { reset(); }
    void reset(nb::handle array = {}) {
        if (view_.obj) PyBuffer_Release(&view_);
        view_ = {};
        if (!array.is_valid()) return;
        if (PyObject_GetBuffer(array.ptr(), &view_, PyBUF_CONTIG | PyBUF_FORMAT) != 0) throw nb::python_error();
        if (view_.len != 8 || std::strcmp(view_.format, "q") != 0) {
            reset();
            throw nb::type_error("a counter must be array(\"q\", [n])");
        }
    }
    int64_t* place() const { return static_cast<int64_t*>(view_.buf); }

private:
    Py_buffer view_{};
};

// Whether anybody holds the array, or a view of it, besides those who hold it in `known` places.
inline bool is_held(PyObject* array, PyObject* type, Py_ssize_t known) {
    if (Py_REFCNT(array) > known) return true;
    const nb::object base = nb::steal(PyObject_GetAttrString(array, "base"));
    if (!base.is_valid()) {
        PyErr_Clear();
        return true;
    }
    if (base.is_none()) return false;
    // A view of an array that nobody else knows is as good as an array; of other owners of memory we know nothing.
    return Py_TYPE(base.ptr()) != reinterpret_cast<PyTypeObject*>(type) || is_held(base.ptr(), type, 2);
}

}  // namespace chainrule
