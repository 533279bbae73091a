// All constraints: by the names of their classes in Python, and as a unit of the engine (see CMakeLists.txt), for one type
// of number.
#include "../optimizers/optimizer.h"
#include "elementwise.h"
#include "rows.h"

namespace chainrule {
namespace {

template <class T, class F>
std::unique_ptr<Constraint<T>> by_number(const Settings& settings, const ParameterShape& shape) {
    return std::make_unique<Elementwise<T, F>>(F(settings, shape));
}
template <class T, class F>
std::unique_ptr<Constraint<T>> by_rows(const Settings& settings, const ParameterShape& shape) {
    const F f(settings);  // what it lacks is missed for a vector too
    if (shape.n_in == 0) return nullptr;
    return std::make_unique<OfRows<T, F>>(f, shape);
}

}  // namespace

template <class T>
std::unique_ptr<Constraint<T>> make_constraint(const Settings& settings, const ParameterShape& shape) {
    static constexpr struct {
        const char* kind;
        std::unique_ptr<Constraint<T>> (*make)(const Settings&, const ParameterShape&);
    } all[] = {
        {"L1", by_number<T, L1<T>>},
        {"L2", by_number<T, L2<T>>},
        {"NonNegative", by_number<T, NonNegative<T>>},
        {"Mask", by_number<T, Kept<T>>},
        {"MaxNorm", by_rows<T, MaxNorm<T>>},
        {"UnitNorm", by_rows<T, UnitNorm<T>>},
    };
    for (const auto& one : all)
        if (settings.kind == one.kind) return one.make(with_normal_options<T>(settings), shape);
    throw std::invalid_argument("the engine has no constraint " + settings.kind);
}

template std::unique_ptr<Constraint<NUMBER>> make_constraint<NUMBER>(const Settings&, const ParameterShape&);

}  // namespace chainrule
