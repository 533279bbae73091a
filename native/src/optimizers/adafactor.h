// Adafactor: b = t^beta2_decay, alpha = min(lr, 1 / √t) · max(eps2, rms(value)), value shrinks by lr · weight_decay;
//   matrices: r += b (mean of g² along each row - r), c likewise along each column, v = r c / max(mean of r, eps1)
//   vectors:  v += b (g² - v)
//   u = g / max(√v, eps1), value -= alpha · u / max(1, rms(u) / d)        (Shazeer and Stern, 2018, algorithms 4 and 5)
// Keeps r and c, or v. Rows are those of the weight in Python: where it lies transposed, the columns in memory.
#pragma once

#include <algorithm>
#include <limits>

#include "whole.h"

namespace chainrule {

struct AdafactorOptions {
    double beta2_decay, eps1, eps2, d, weight_decay, clip_value;
    explicit AdafactorOptions(const Settings& s)
        : beta2_decay(s.number("beta2_decay")), eps1(s.number("eps1")), eps2(s.number("eps2")), d(s.number("d")),
          weight_decay(s.number("weight_decay")), clip_value(s.number("clip_value")) {}
};

template <class T>
class AdafactorUpdate final : public WholeUpdate<T> {
public:
    AdafactorUpdate(const AdafactorOptions& options, const ParameterShape& shape)
        : o(options), shape_(shape), size_(parameter_size<T>(shape)), eps_(o.eps1 < 0 ? double(std::numeric_limits<T>::epsilon()) : o.eps1) {}

    std::vector<KeptArray> kept() const override {
        if (shape_.n_in == 0) return {{shape_, true}};
        return {{{shape_.n_out, 1}, false}, {{1, shape_.n_in}, false}};
    }
    int64_t scratch() const override { return size_ + round_up(std::max(shape_.n_out, shape_.n_in), 64); }
    double operations() const override { return 20 * double(size_); }

    void update(const UpdateStep& step, T* value, const T* gradient, T* const* states, T* scratch) const override {
        const double share = real_power(double(step.count), o.beta2_decay);
        const double alpha = std::min(step.lr, 1 / std::sqrt(double(step.count))) * std::max(o.eps2, rms(at(value)));
        const Matrix<T> u = at(scratch);
        each_vector<T, 0>(step, o.clip_value, scratch, gradient, nullptr, size_, [](Vec<T>, Vec<T> g, Vec<T>*) ALWAYS_INLINE { return g; });
        if (shape_.n_in == 0) of_vector(T(share), u, states[0]);
        else if (weight_is_transposed(shape_.n_in, shape_.n_out)) of_matrix(T(share), u, states[1], states[0], states[0], scratch + size_);
        else of_matrix(T(share), u, states[0], states[1], states[0], scratch + size_);
        step_along(value, 1 - step.lr * o.weight_decay, alpha / std::max(1.0, rms(u) / o.d), scratch, size_);
    }

private:
    Matrix<T> at(T* data) const { return parameter_matrix<T>(shape_, data); }

    // g / max(√v, eps1), told by squares
    FORCE_INLINE Vec<T> scaled(Vec<T> g, Vec<T> v) const { return g / sqrt<T>(at_least<T>(broadcast<T>(T(eps_ * eps_)), v)); }

    void of_vector(T share, const Matrix<T>& u, T* variance) const {
        const Vec<T> b = broadcast<T>(share);
        for (int64_t i = 0; i < shape_.n_out; i += lanes<T>) {  // but not the padding, which an eps1 of 0 would spoil
            const int n = int(std::min<int64_t>(shape_.n_out - i, lanes<T>));
            const Vec<T> g = load_partial(u.data + i, n), v = load_partial(variance + i, n);
            const Vec<T> now = v + b * (g * g - v);
            store_partial(variance + i, now, n);
            store_partial(u.data + i, scaled(g, now), n);
        }
    }

    // u holds g. down: of each row in memory what is kept of it; across: of each column; rows: that of both which is r
    void of_matrix(T share, const Matrix<T>& u, T* down, T* across, const T* rows, T* sums) const {
        const Vec<T> b = broadcast<T>(share), height = broadcast<T>(T(u.rows));
        std::fill(sums, sums + u.columns, T(0));
        for (int64_t r = 0; r < u.rows; ++r) {
            Lanes16<T> sum = Lanes16<T>::zeros();
            each_piece(u, r, [&](int64_t place, int64_t c, int n) ALWAYS_INLINE {
                Lanes16<T> g = Lanes16<T>::load_partial(u.data + place, n);
                for (int j = 0, rest = n; j < Lanes16<T>::vectors && rest > 0; ++j, rest -= lanes<T>) {
                    const Vec<T> square = g.v[j] * g.v[j];
                    T* const to = sums + c + j * lanes<T>;
                    sum.v[j] += square;
                    store_partial(to, load_partial(to, rest) + square, rest);
                }
            });
            down[r] += share * (sum.sum() / T(u.columns) - down[r]);
        }
        for (int64_t c = 0; c < u.columns; c += lanes<T>) {
            const int n = int(std::min<int64_t>(u.columns - c, lanes<T>));
            const Vec<T> kept = load_partial(across + c, n);
            store_partial(across + c, kept + b * (load_partial(sums + c, n) / height - kept), n);
        }
        const T mean = mean_of(rows, shape_.n_out), divisor = mean < T(eps_) ? T(eps_) : mean;  // NaN for NaN
        for (int64_t r = 0; r < u.rows; ++r)
            each_piece(u, r, [&](int64_t place, int64_t c, int n) ALWAYS_INLINE {
                for (int j = 0; n > 0; j += lanes<T>, n -= lanes<T>) {
                    const Vec<T> v = broadcast<T>(down[r]) * load_partial(across + c + j, n) / broadcast<T>(divisor);
                    store_partial(u.data + place + j, scaled(load_partial(u.data + place + j, n), v), n);
                }
            });
    }

    static T mean_of(const T* x, int64_t n) {
        const auto full = [=](int64_t i) ALWAYS_INLINE { return Lanes16<T>::load(x + i); };
        const auto tail = [=](int64_t i, int rest) ALWAYS_INLINE { return Lanes16<T>::load_partial(x + i, rest); };
        return sum16<T>(n, full, tail) / T(n);
    }

    AdafactorOptions o;
    ParameterShape shape_;
    int64_t size_;
    double eps_;
};

template <class T>
class Adafactor final : public WholeOptimizer<T> {
public:
    explicit Adafactor(const Settings& settings) : o(settings) {}
    std::unique_ptr<WholeUpdate<T>> of_whole(const ParameterShape& shape) const override { return std::make_unique<AdafactorUpdate<T>>(o, shape); }

private:
    AdafactorOptions o;
};

template <class T>
std::unique_ptr<Optimizer<T>> make_adafactor(const Settings& settings) {
    return std::make_unique<Adafactor<T>>(settings);
}

}  // namespace chainrule
