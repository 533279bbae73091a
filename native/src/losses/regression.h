// Losses for targets that are numbers, e = y - target: each a function of one element.
#pragma once

#include "../elementary.h"
#include "elements.h"

namespace chainrule {
namespace losses_detail {

// The sign of e, 0 at 0 and NaN for NaN: the derivative of |e|
template <class T>
FORCE_INLINE Vec<T> sign(std::type_identity_t<Vec<T>> e) {
    return abs<T>(e) > Vec<T>{} ? elementary::copysign<T>(broadcast<T>(1), e) : e;
}

// e²
template <class T>
struct MSELoss {
    explicit MSELoss(const Settings&) {}
    FORCE_INLINE Element<T> operator()(Vec<T> y, Vec<T> target, int64_t) const {
        const Vec<T> e = y - target;
        return {e * e, e + e};
    }
};

// |e|
template <class T>
struct L1Loss {
    explicit L1Loss(const Settings&) {}
    FORCE_INLINE Element<T> operator()(Vec<T> y, Vec<T> target, int64_t) const {
        const Vec<T> e = y - target;
        return {abs<T>(e), sign<T>(e)};
    }
};

// e² / (2 beta) where |e| < beta, |e| - beta / 2 elsewhere
template <class T>
struct SmoothL1Loss {
    Vec<T> beta, one_over_beta;
    explicit SmoothL1Loss(const Settings& s) {
        const double width = s.number("beta");  // 0 is L1Loss: nothing lies inside
        beta = broadcast<T>(T(width)), one_over_beta = broadcast<T>(width > 0 ? T(1 / width) : T(0));
    }
    FORCE_INLINE Element<T> operator()(Vec<T> y, Vec<T> target, int64_t) const {
        const Vec<T> e = y - target, a = abs<T>(e), half = broadcast<T>(T(0.5)), ratio = e * one_over_beta;
        const Mask<T> inside = a < beta;
        return {inside ? half * e * ratio : a - half * beta, inside ? ratio : sign<T>(e)};
    }
};

// e² / 2 where |e| < delta, delta (|e| - delta / 2) elsewhere
template <class T>
struct HuberLoss {
    Vec<T> delta;
    explicit HuberLoss(const Settings& s) : delta(broadcast<T>(T(s.number("delta")))) {}
    FORCE_INLINE Element<T> operator()(Vec<T> y, Vec<T> target, int64_t) const {
        const Vec<T> e = y - target, a = abs<T>(e), half = broadcast<T>(T(0.5));
        const Mask<T> inside = a < delta;
        return {inside ? half * e * e : delta * (a - half * delta), inside ? e : delta * sign<T>(e)};
    }
};

// q e where the target is larger, (1 - q) e elsewhere, e = |y - target|
template <class T>
struct QuantileLoss {
    Vec<T> below, above;  // the slopes of y below and above the target
    explicit QuantileLoss(const Settings& s)
        : below(broadcast<T>(T(-s.number("quantile")))), above(broadcast<T>(T(1 - s.number("quantile")))) {}
    FORCE_INLINE Element<T> operator()(Vec<T> y, Vec<T> target, int64_t) const {
        const Vec<T> e = y - target, slope = e < Vec<T>{} ? below : above;
        return {slope * e, abs<T>(e) > Vec<T>{} ? slope : e};
    }
};

// e^y - target y, where y is the logarithm of the rate
template <class T>
struct PoissonNLLLoss {
    explicit PoissonNLLLoss(const Settings&) {}
    FORCE_INLINE Element<T> operator()(Vec<T> y, Vec<T> target, int64_t) const {
        const Vec<T> rate = exp<T>(y);
        return {rate - target * y, rate - target};
    }
};

// y - target log(y + eps), where y is the rate
template <class T>
struct PoissonNLLLossOfRates {
    Vec<T> eps;
    explicit PoissonNLLLossOfRates(const Settings& s) : eps(broadcast<T>(T(s.number("eps")))) {}
    FORCE_INLINE Element<T> operator()(Vec<T> y, Vec<T> target, int64_t) const {
        const Vec<T> rate = y + eps;
        return {y - target * log<T>(rate), broadcast<T>(1) - target / rate};
    }
};

}  // namespace losses_detail

template <class T>
std::unique_ptr<Loss<T>> make_regression_loss(const Settings& settings, int64_t) {
    using namespace losses_detail;
    const auto is = [&](const char* name) { return settings.kind == name; };
    if (is("MSELoss")) return std::make_unique<ElementLoss<T, MSELoss<T>>>(settings);
    if (is("L1Loss")) return std::make_unique<ElementLoss<T, L1Loss<T>>>(settings);
    if (is("SmoothL1Loss")) return std::make_unique<ElementLoss<T, SmoothL1Loss<T>>>(settings);
    if (is("HuberLoss")) return std::make_unique<ElementLoss<T, HuberLoss<T>>>(settings);
    if (is("QuantileLoss")) return std::make_unique<ElementLoss<T, QuantileLoss<T>>>(settings);
    if (is("PoissonNLLLoss") && settings.flag("log_input")) return std::make_unique<ElementLoss<T, PoissonNLLLoss<T>>>(settings);
    if (is("PoissonNLLLoss")) return std::make_unique<ElementLoss<T, PoissonNLLLossOfRates<T>>>(settings);
    return nullptr;
}

}  // namespace chainrule
