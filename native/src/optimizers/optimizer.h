// What an optimizer is to the engine: it says how many arrays it keeps for each parameter, and updates one parameter in
// place. Each is the twin of the class of the same name in chainrule.optimizers, in a file of its own or its family's;
// optimizers.cpp lists them all. To add one: its file, its line there. Those that look at all numbers of a parameter at
// once say so by `of_whole`, and have a base in whole.h.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "../plan.h"
#include "clipping.h"

namespace chainrule {

// What one update of one parameter depends on besides its numbers.
struct UpdateStep {
    double lr;
    int64_t count;               // this parameter's updates, from 1
    double gradient_scale = 1;   // of clip_norm; below 0 where the optimizer maximizes
    double momentum = -1;        // of this step; below 0: what the optimizer was made with
};

// An array that is kept of a parameter which is updated whole.
struct KeptArray {
    ParameterShape shape;
    bool lies_as_value;  // in memory; else number after number
};

// How one parameter is updated by a rule that looks at all of its numbers at once, such as one that multiplies matrices. It
// is made for a parameter's shape, and one thread makes the whole update.
template <class T>
class WholeUpdate {
public:
    virtual ~WholeUpdate() = default;

    // The arrays that are kept of it, in the order of `kept` in Python. All begin with 0.
    virtual std::vector<KeptArray> kept() const = 0;

    // Numbers of memory that `update` needs, whatever they are before; and about how many operations it takes.
    virtual int64_t scratch() const { return 0; }
    virtual double operations() const = 0;

    virtual void update(const UpdateStep& step, T* value, const T* gradient, T* const* states, T* scratch) const = 0;
};

template <class T>
class Optimizer {
public:
    virtual ~Optimizer() = default;

    // Arrays that are kept for each parameter, in the order of state_names() in Python, and what number k begins with.
    virtual int states() const = 0;
    virtual double initial_state(int /*k*/) const { return 0; }

    // Is it value -= lr · gradient and nothing more, no clipping either? Then it may ride in the product that makes the
    // gradient.
    virtual bool is_plain() const { return false; }

    // Does it make NaN of numbers whose value, gradient and states are all 0, as those of the padding are? Adaptive rules
    // do so with eps = 0: 0 / √0.
    virtual bool spoils_padding() const { return false; }

    // n numbers in place, a multiple of 16; memory is that of a Matrix or a padded vector.
    virtual void update(const UpdateStep& step, T* value, const T* gradient, T* const* states, int64_t n) const = 0;

    // Null: numbers are updated one by one, as above. Else what updates a parameter of this shape, all of it at once.
    virtual std::unique_ptr<WholeUpdate<T>> of_whole(const ParameterShape& /*shape*/) const { return nullptr; }
};

// The same settings with options that are normal numbers in T. While the engine runs, the processor takes denormal ones for
// 0 (FlushDenormals), but not while memory is counted: a count that asks `eps > 0` would differ from its use. So what is
// denormal becomes the smallest normal number of its sign, and is more than 0 for everybody.
template <class T>
Settings with_normal_options(Settings settings) {
    constexpr double least = std::numeric_limits<T>::min();
    for (auto& [name, option] : settings.numbers) {
        if (option > 0 && option < least) option = least;
        if (option < 0 && option > -least) option = -least;
    }
    return settings;
}

// The optimizer of a class of Python's, with its constructor's arguments by their names: booleans are 0 and 1, betas are
// beta1 and beta2, clip_value and clip_norm are 0 for none; the learning rate comes with every step. All are read here,
// after with_normal_options<T>, but for `maximize`, which is the caller's: it turns the sign of gradient_scale. Throws
// std::invalid_argument for a class or an option that is missing.
template <class T>
std::unique_ptr<Optimizer<T>> make_optimizer(const Settings& settings);

extern template std::unique_ptr<Optimizer<float>> make_optimizer<float>(const Settings&);  // here only announced:
extern template std::unique_ptr<Optimizer<double>> make_optimizer<double>(const Settings&);  // optimizers.cpp makes it

}  // namespace chainrule
