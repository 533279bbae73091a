// Matrices for the tests, with guards behind them and something else than 0 in their padding.
#pragma once

#include <random>
#include <vector>

#include "../src/panels.h"

template <class T>
struct Larger;
template <>
struct Larger<float> { using type = double; };
template <>
struct Larger<double> { using type = long double; };

// The type in which the naive twins of T reckon.
template <class T>
using Reference = typename Larger<T>::type;

template <class T>
struct Storage {
    static constexpr int guard = 64;
    std::vector<T> memory;
    chainrule::Matrix<T> matrix;

    Storage(int64_t rows, int64_t columns, T padding = T(0.5))
        : memory(size_t(chainrule::Matrix<T>::size(rows, columns)) + guard, padding), matrix(memory.data(), rows, columns) {
        for (size_t i = memory.size() - guard; i < memory.size(); ++i) memory[i] = T(-77);
    }
    Storage(const Storage& other) : memory(other.memory), matrix(memory.data(), other.matrix.rows, other.matrix.columns) {}

    template <class Value>
    void fill(Value value) {
        for (int64_t r = 0; r < matrix.rows; ++r)
            for (int64_t c = 0; c < matrix.columns; ++c) matrix.at(r, c) = T(value(r, c));
    }

    std::vector<Reference<T>> row(int64_t r) const {
        std::vector<Reference<T>> values;
        for (int64_t c = 0; c < matrix.columns; ++c) values.push_back(matrix.at(r, c));
        return values;
    }

    bool guard_intact() const {
        for (size_t i = memory.size() - guard; i < memory.size(); ++i)
            if (memory[i] != T(-77)) return false;
        return true;
    }

    // Is the padding of every row 0?
    bool padding_zero() const {
        for (int64_t r = 0; r < matrix.rows; ++r)
            for (int64_t c = matrix.columns; c < matrix.panels() * matrix.width(); ++c)
                if (!(matrix.data[c / matrix.width() * matrix.pitch + r * matrix.width() + c % matrix.width()] == 0)) return false;
        return true;
    }
};
