// Arrays of samples that a call was given, read and written where they lie.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arrays.h"
#include "form.h"

namespace chainrule {

// Where Python's rules for arrays come in: what to make of one that is not as the engine reads it.
class Reader {
public:
    explicit Reader(PyTypeObject* plain) : plain_(plain) {}
    nb::object read;  // (array, name, whether class indices are wanted) -> a plain array; None: nothing else is read

    bool is_plain(nb::handle array) const { return Py_TYPE(array.ptr()) == plain_; }  // no subclass, such as masked arrays
    bool reads() const { return read.is_valid() && !read.is_none(); }
    nb::object numbers(nb::handle array, const char* name) const { return read(array, name, false); }
    nb::object indices(nb::handle array, const char* name) const { return read(array, name, true); }

private:
    PyTypeObject* plain_;
};

// Rows of numbers that a call was given, read through the buffer protocol for as long as this object lives.
class Rows {
public:
    // `reader`, if there is one, says what to make of anything that is not a plain array as it has to be. `name` and
    // `place`, behind it, are what errors call the array.
    Rows(nb::handle array, DType dtype, const Sample& sample, const char* name, bool writable,
         const Reader* reader = nullptr, const char* place = "")
        : name_(name), place_(place) {
        const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
        bool open = (!reader || reader->is_plain(array)) && get(array, flags), fits = open && holds(view_, dtype);
        if (!fits && reader && reader->reads()) {
            release();
            read_ = reader->numbers(array, (std::string(name) + place).c_str());
            open = get(read_, flags);
            fits = open && holds(view_, dtype);
        }
        if (!fits) refuse(open, dtype, writable);
        if (sample.shape.size() == 1) [[likely]] {
            if (view_.ndim == 2 && view_.shape[1] == sample.size) rows = view_.shape[0];
            else if (view_.ndim == 1 && view_.shape[0] == sample.size) single_ = true, rows = 1;
        } else {
            single_ = view_.ndim == int(sample.shape.size());
            if (ends_with(sample)) rows = single_ ? 1 : view_.shape[0];
        }
        if (rows == 0) refuse_shape(sample);
    }
    Rows(const Rows&) = delete;
    ~Rows() { release(); }

    void* data() const { return view_.buf; }
    size_t bytes() const { return size_t(view_.len); }
    bool single() const { return single_; }  // one sample, without an axis of samples
    bool overlaps(const Rows& other) const {
        const auto *begin = static_cast<const char*>(view_.buf), *others = static_cast<const char*>(other.view_.buf);
        return begin < others + other.view_.len && others < begin + view_.len;
    }
    int64_t rows = 0;

private:
    std::string message(const std::string& text) const { return std::string(name_) + place_ + " " + text; }
    bool ends_with(const Sample& sample) const {
        const int first = view_.ndim - int(sample.shape.size());
        if (first != 0 && first != 1) return false;
        for (size_t i = 0; i < sample.shape.size(); ++i)
            if (view_.shape[size_t(first) + i] != sample.shape[i]) return false;
        return true;
    }
    [[noreturn, gnu::noinline]] void refuse(bool open, DType dtype, bool writable) {
        if (!open)
            throw nb::type_error(message(std::string("must be a C-contiguous ") + (writable ? "writable " : "") + "NumPy array")
                                     .c_str());
        const std::string got = view_.format;
        release();
        throw nb::type_error(message(std::string("must be ") + name_of(dtype) + " like the network, got format " + got).c_str());
    }
    [[noreturn, gnu::noinline]] void refuse_shape(const Sample& sample) {
        std::string shape;
        for (int i = 0; i < view_.ndim; ++i) shape += (i ? ", " : "") + std::to_string(view_.shape[i]);
        const bool empty = view_.ndim == int(sample.shape.size()) + 1 && ends_with(sample);
        release();
        if (empty) throw nb::value_error(message("must have at least one row").c_str());
        const std::string expected = sample.text(false) + (sample.shape.empty() ? "" : " or " + sample.text(true));
        throw nb::value_error(message("must be " + expected + ", got (" + shape + ")").c_str());
    }
    bool get(nb::handle array, int flags) {
        if (PyObject_GetBuffer(array.ptr(), &view_, flags) == 0) return true;
        PyErr_Clear();
        return false;
    }
    void release() {
        if (view_.obj) PyBuffer_Release(&view_);
    }
    Py_buffer view_{};
    nb::object read_;  // what the reader made
    const char* name_;
    const char* place_;
    bool single_ = false;
};

// The same for all the arrays of a form, which have as many rows each.
class Several {
public:
    Several(const Form& form, nb::handle value, DType dtype, const char* name, bool writable, const Reader* reader = nullptr)
        : parts_(form.size()), data_(form.size()) {
        form.require(value, name);
        for (size_t i = 0; i < form.size(); ++i) {
            const Rows& part = parts_[i].emplace(form.part(value, i), dtype, form.sample(i), name, writable, reader, form.place(i));
            data_[i] = part.data();
            if (part.rows != rows() || part.single() != single()) refuse(form, name, i);
        }
    }

    int64_t rows() const { return parts_[0]->rows; }
    bool single() const { return parts_[0]->single(); }
    void* const* data() const { return data_.data(); }
    const std::vector<std::optional<Rows>>& parts() const { return parts_; }

private:
    [[noreturn, gnu::noinline]] void refuse(const Form& form, const std::string& name, size_t i) const {
        const std::string first = name.substr(name.find(": ") + 2) + form.place(0);
        throw nb::value_error((name + form.place(i) + " must have as many rows as " + first + ", " + std::to_string(rows()) +
                               ", got " + std::to_string(parts_[i]->rows)).c_str());
    }
    std::vector<std::optional<Rows>> parts_;  // which stay where they are
    std::vector<void*> data_;
};

}  // namespace chainrule
