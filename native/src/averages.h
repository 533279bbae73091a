// Averages of the weights that training passes through, the twins of chainrule.averages: after which updates weights are
// taken in, and what share they get in the mean. The first that are taken in are the mean.
#pragma once

#include <cstdint>
#include <stdexcept>

#include "settings.h"

namespace chainrule {

class Average {
public:
    Average() = default;  // none
    explicit Average(const Settings& settings) {
        if (settings.kind == "EMA") {
            kind_ = Kind::ema;
            decay_ = settings.number("decay");
        } else if (settings.kind == "SWA") {
            kind_ = settings.word("unit") == "step" ? Kind::swa_by_step : Kind::swa_by_epoch;
            start_ = int64_t(settings.number("start"));
            every_ = int64_t(settings.number("every"));
            if (every_ < 1) throw std::invalid_argument("plan: SWA must take every so many, at least 1");
        } else if (!settings.kind.empty()) {
            throw std::invalid_argument("plan: there is no average " + settings.kind);
        }
    }

    bool is_there() const { return kind_ != Kind::none; }

    // After update number `step` of the `steps` of an epoch, from 0 on?
    bool takes(int64_t epoch, int64_t step, int64_t steps) const {
        const int64_t since = epoch - start_;
        switch (kind_) {
            case Kind::none: return false;
            case Kind::ema: return true;
            case Kind::swa_by_step: return since >= 0 && (since * steps + step + 1) % every_ == 0;
            case Kind::swa_by_epoch: return since >= 0 && step + 1 == steps && since % every_ == 0;
        }
        return false;
    }
    // Of new weights in a mean that holds so many.
    double share(int64_t taken) const { return kind_ == Kind::ema ? 1 - decay_ : 1 / (double(taken) + 1); }

private:
    enum class Kind { none, ema, swa_by_step, swa_by_epoch };
    Kind kind_ = Kind::none;
    double decay_ = 0;
    int64_t start_ = 0, every_ = 1;
};

}  // namespace chainrule
