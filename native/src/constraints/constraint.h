// What a constraint is to the engine: it brings the numbers of one parameter within bounds, in place, after each update of
// it. Each is the twin of the class of the same name in chainrule.constraints; constraints.cpp lists them all. To add one:
// a struct in elementwise.h or rows.h, its line there.
#pragma once

#include <cstdint>
#include <memory>

#include "../parameter_matrix.h"

namespace chainrule {

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
