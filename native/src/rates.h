// What the optimizer goes by that may be another in each step.
#pragma once

#include <cstdint>

namespace chainrule {

// For each of the plan's rules its learning rate, and its momentum (of SGD and RMSprop; beta1 of Adam's family).
struct Rates {
    const double* lr;
    const double* momentum = nullptr;  // null: what each optimizer was made with; below 0: what this one was

    explicit Rates(const double* lr, const double* momentum = nullptr) : lr(lr), momentum(momentum) {}
    Rates(const double& only) : lr(&only) {}  // of a plan with one rule, for as long as the number lives

    void advance(int64_t n) {
        lr += n;
        if (momentum) momentum += n;
    }
};

}  // namespace chainrule
