// What a constraint is to the engine: it brings the numbers of one parameter within bounds, in place, after each update of
// it. Each is the twin of the class of the same name in chainrule.constraints; constraints.cpp lists them all. To add one:
// a struct in elementwise.h or rows.h, its line there.
#pragma once

#include <cstdint>
#include <memory>

#include "../plan.h"
#include "../products/products.h"

namespace chainrule {

// Does a row of what lies in memory hold one input's numbers, of all outputs? A kernel's rows go tap by tap, in each of them
// channel by channel.
inline bool is_transposed(const ParameterShape& shape) { return shape.taps > 0 || weight_is_transposed(shape.n_in, shape.n_out); }

// How a parameter lies in memory: a bias as one row.
template <class T>
Matrix<T> parameter_matrix(const ParameterShape& shape, T* data) {
    if (shape.n_in == 0) return Matrix<T>(data, 1, shape.n_out);
    return is_transposed(shape) ? Matrix<T>(data, shape.n_in, shape.n_out) : Matrix<T>(data, shape.n_out, shape.n_in);
}

// The place in memory of every number of a parameter, in Python's order.
template <class T, class F>
void each_place(const ParameterShape& shape, F f) {
    if (shape.n_in == 0) {
        for (int64_t o = 0; o < shape.n_out; ++o) f(o);
        return;
    }
    const bool transposed = is_transposed(shape);
    const int64_t taps = shape.taps > 0 ? shape.taps : 1, channels = shape.n_in / taps;
    const Matrix<T> m = parameter_matrix<T>(shape, nullptr);
    const int width = m.width();
    for (int64_t o = 0; o < shape.n_out; ++o)
        for (int64_t j = 0; j < shape.n_in; ++j) {
            const int64_t place = taps == 1 ? j : j % taps * channels + j / taps;
            const int64_t r = transposed ? place : o, c = transposed ? o : place;
            f((c / width) * m.pitch + r * width + c % width);
        }
}

template <class T>
class Constraint {
public:
    virtual ~Constraint() = default;

    // Does it look at all that leads to one output at once? Then `begin` and `end` below are multiples of rows_unit.
    virtual bool takes_rows() const { return false; }

    // Numbers begin … end - 1 of the parameter's memory, multiples of a vector. What is 0 stays so: the padding is.
    virtual void apply(double lr, T* parameter, int64_t begin, int64_t end) const = 0;
};

// In what pieces the memory of a parameter may be divided so that each holds whole rows of the weight: a panel of outputs
// where it lies transposed, else nothing less than all of it.
template <class T>
int64_t rows_unit(const ParameterShape& shape, int64_t size) {
    if (shape.n_in == 0 || !is_transposed(shape)) return size;
    return parameter_matrix<T>(shape, nullptr).pitch;
}

// The constraint of a class of Python's, for a parameter of this shape, from its constructor's arguments by their names.
// Null: it leaves such a parameter as it is. Throws std::invalid_argument for a class or an option that is missing.
template <class T>
std::unique_ptr<Constraint<T>> make_constraint(const Settings& settings, const ParameterShape& shape);

extern template std::unique_ptr<Constraint<float>> make_constraint<float>(const Settings&, const ParameterShape&);
extern template std::unique_ptr<Constraint<double>> make_constraint<double>(const Settings&, const ParameterShape&);

}  // namespace chainrule
