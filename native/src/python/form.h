// How arrays come to a network and from it: one array, a tuple of them, or a dict by name (Python's structures.py); and
// the shape of one sample of each.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <string>
#include <vector>

namespace chainrule {

namespace nb = nanobind;

struct Sample {
    std::vector<int64_t> shape;
    int64_t size = 1;  // numbers

    // The shape of so many samples, or of one without an axis of samples.
    nb::object shape_of(int64_t rows, bool single) const {
        const size_t first = single ? 0 : 1;
        nb::object lengths = nb::steal(PyTuple_New(Py_ssize_t(shape.size() + first)));
        if (!single) PyTuple_SET_ITEM(lengths.ptr(), 0, PyLong_FromLongLong(rows));
        for (size_t i = 0; i < shape.size(); ++i)
            PyTuple_SET_ITEM(lengths.ptr(), Py_ssize_t(i + first), PyLong_FromLongLong(shape[i]));
        return lengths;
    }
    // As words: "(batch, 2)", or of one sample "(2,)".
    std::string text(bool single) const {
        std::string text = single ? "" : "batch";
        for (const int64_t length : shape) text += (text.empty() ? "" : ", ") + std::to_string(length);
        return "(" + text + (shape.size() + !single == 1 ? ",)" : ")");
    }
};

class Form {
public:
    // ("array" | "tuple" | "dict", names, shapes): engine/native.py makes it.
    explicit Form(nb::handle described) {
        const std::string kind = nb::cast<std::string>(described[0]);
        kind_ = kind == "array" ? Kind::array : kind == "tuple" ? Kind::tuple : Kind::dict;
        for (nb::handle name : described[1]) names_.push_back(nb::borrow(name));
        for (nb::handle shape : described[2]) {
            Sample sample;
            sample.shape = nb::cast<std::vector<int64_t>>(shape);
            for (const int64_t length : sample.shape) sample.size *= length;
            samples_.push_back(std::move(sample));
        }
        for (size_t i = 0; i < samples_.size(); ++i)
            places_.push_back(kind_ == Kind::array  ? ""
                              : kind_ == Kind::dict ? "[" + nb::cast<std::string>(nb::repr(names_[i])) + "]"
                                                    : "[" + std::to_string(i) + "]");
    }

    bool is_one() const { return kind_ == Kind::array; }
    size_t size() const { return samples_.size(); }
    const Sample& sample(size_t i) const { return samples_[i]; }
    const char* place(size_t i) const { return places_[i].c_str(); }  // behind the name of the whole: "['a']"

    // Raises TypeError or ValueError unless `value` has this form.
    void require(nb::handle value, const char* name) const {
        const bool fits = kind_ == Kind::array || (kind_ == Kind::tuple ? PyTuple_Check(value.ptr()) : PyDict_Check(value.ptr()));
        if (!fits) throw nb::type_error((expected(name) + "got a " + type_of(value)).c_str());
        if (kind_ == Kind::array) return;
        const size_t n = kind_ == Kind::tuple ? size_t(PyTuple_GET_SIZE(value.ptr())) : size_t(PyDict_Size(value.ptr()));
        bool all = n == size();
        if (kind_ == Kind::dict)
            for (const nb::object& key : names_) all = all && PyDict_Contains(value.ptr(), key.ptr()) == 1;
        if (!all) throw nb::value_error((expected(name) + "got " + found(value)).c_str());
    }
    // One of its arrays, once it is known to have this form.
    nb::object part(nb::handle value, size_t i) const {
        if (kind_ == Kind::array) return nb::borrow(value);
        if (kind_ == Kind::tuple) return nb::borrow(PyTuple_GET_ITEM(value.ptr(), Py_ssize_t(i)));
        PyObject* const found = PyDict_GetItemWithError(value.ptr(), names_[i].ptr());
        if (!found) throw nb::key_error(nb::cast<std::string>(names_[i]).c_str());
        return nb::borrow(found);
    }
    // Arrays in this form.
    nb::object build(const std::vector<nb::object>& arrays) const {
        if (kind_ == Kind::array) return arrays[0];
        if (kind_ == Kind::dict) {
            nb::dict dict;
            for (size_t i = 0; i < arrays.size(); ++i) dict[names_[i]] = arrays[i];
            return dict;
        }
        nb::object tuple = nb::steal(PyTuple_New(Py_ssize_t(arrays.size())));
        for (size_t i = 0; i < arrays.size(); ++i) PyTuple_SET_ITEM(tuple.ptr(), Py_ssize_t(i), nb::object(arrays[i]).release().ptr());
        return tuple;
    }

private:
    enum class Kind { array, tuple, dict };
    std::string expected(const char* name) const {
        std::string text = std::string(name) + " must be ";
        if (kind_ == Kind::tuple) return text + "a tuple of " + std::to_string(size()) + " arrays, ";
        text += "a dict of arrays with ";
        for (size_t i = 0; i < names_.size(); ++i) text += (i ? ", " : "") + nb::cast<std::string>(nb::repr(names_[i]));
        return text + ", ";
    }
    static std::string type_of(nb::handle value) { return nb::cast<std::string>(value.type().attr("__name__")); }
    std::string found(nb::handle value) const {
        if (kind_ == Kind::tuple) return std::to_string(PyTuple_GET_SIZE(value.ptr()));
        return nb::cast<std::string>(nb::str(nb::list(value)));
    }
    Kind kind_ = Kind::array;
    std::vector<nb::object> names_;
    std::vector<Sample> samples_;
    std::vector<std::string> places_;
};

}  // namespace chainrule
