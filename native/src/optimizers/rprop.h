// Rprop: where g keeps its sign, size = min(size · eta2, step_size2); where it changes it, size = max(size · eta1, step_size1)
// and g = 0; value -= size · sign(g)        (Riedmiller and Braun, 1993; iRprop- of Igel and Hüsken, 2000)
// Keeps g, and size, which is lr at the first step.
#pragma once

#include "elementwise.h"

namespace chainrule {

struct RpropOptions {
    double shrink, grow, least, most, clip_value;
    explicit RpropOptions(const Settings& s)
        : shrink(s.number("eta1")), grow(s.number("eta2")), least(s.number("step_size1")), most(s.number("step_size2")),
          clip_value(s.number("clip_value")) {}
};

template <class T>
class Rprop final : public Optimizer<T> {
public:
    explicit Rprop(const RpropOptions& options) : o(options) {}

    int states() const override { return 2; }

    void update(const UpdateStep& step, T* value, const T* gradient, T* const* states, int64_t n) const override {
        const Vec<T> lr = broadcast<T>(T(step.lr)), shrink = broadcast<T>(T(o.shrink)), grow = broadcast<T>(T(o.grow));
        const Vec<T> least = broadcast<T>(T(o.least)), most = broadcast<T>(T(o.most));
        const bool begins = step.count == 1;
        each_vector<T, 2>(step, o.clip_value, value, gradient, states, n, [=](Vec<T> w, Vec<T> g, Vec<T>* state) ALWAYS_INLINE {
            const Vec<T> none{}, before = state[0], size = begins ? lr : state[1];
            const Mask<T> same = ((g > none) & (before > none)) | ((g < none) & (before < none));
            const Mask<T> other = ((g > none) & (before < none)) | ((g < none) & (before > none));
            const Vec<T> changed = select<T>(same, size * grow, select<T>(other, size * shrink, size));
            state[0] = g = keep<T>(~other, g);
            state[1] = at_most<T>(most, at_least<T>(least, changed));
            return w - select<T>(g > none, state[1], select<T>(g < none, -state[1], g));  // NaN stays NaN
        });
    }

private:
    RpropOptions o;
};

template <class T>
std::unique_ptr<Optimizer<T>> make_rprop(const Settings& settings) {
    return std::make_unique<Rprop<T>>(RpropOptions(settings));
}

}  // namespace chainrule
