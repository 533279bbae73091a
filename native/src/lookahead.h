// Lookahead: after every k updates of a parameter slow += alpha (value - slow), value = slow        (Zhang et al., 2019,
// algorithm 1). Twin of chainrule.optimizers.Lookahead; it goes around whatever rules there are.
#pragma once

#include "settings.h"
#include "vec.h"

namespace chainrule {

template <class T>
class Lookahead {
public:
    // No kind: there is none.
    explicit Lookahead(const Settings& settings) : is_there_(!settings.kind.empty()) {
        if (!is_there_) return;
        k_ = int64_t(settings.number("k")), alpha_ = settings.number("alpha");
        if (settings.kind != "Lookahead" || k_ < 1) throw std::invalid_argument("plan: there is no lookahead " + settings.kind);
    }

    bool is_there() const { return is_there_; }
    bool is_due(int64_t updates) const { return updates % k_ == 0; }

    // n numbers, a multiple of 16
    void follow(T* slow, T* value, int64_t n) const {
        const Vec<T> alpha = broadcast<T>(T(alpha_));
        for (int64_t i = 0; i < n; i += lanes<T>) {
            const Vec<T> from = load_unaligned(slow + i), to = from + alpha * (load_unaligned(value + i) - from);
            store_unaligned(slow + i, to);
            store_unaligned(value + i, to);
        }
    }

private:
    bool is_there_;
    int64_t k_ = 1;
    double alpha_ = 0;
};

}  // namespace chainrule
