// Muon, of a matrix: buffer = momentum · buffer + (1 - momentum) · g, u = the buffer, or with nesterov momentum · buffer +
//   (1 - momentum) · g; value shrinks by lr · weight_decay, value -= lr · a · orthogonal(u)        (Jordan et al., 2024)
//   a = √max(1, n_out / n_in), or with adjust_lr_fn 0.2 √max(n_out, n_in)
// Anything else goes by AdamW, with lr · adamw_lr_ratio. Keeps the buffer, or what AdamW keeps.
//
// orthogonal(u) is nearly U Vᵀ of u = U S Vᵀ: x = u / max(‖u‖, eps), and in each step x = a x + x (b s + c s²), s = xᵀ x. It is
// the same for uᵀ, transposed: so x is whichever has fewer columns, and s small.
#pragma once

#include <algorithm>

#include "adam.h"
#include "whole.h"

namespace chainrule {

struct MuonOptions {
    double momentum, weight_decay, a, b, c, eps, clip_value, adamw_lr_ratio;
    int steps;
    bool nesterov, matches_adamw;
    explicit MuonOptions(const Settings& s)
        : momentum(s.number("momentum")), weight_decay(s.number("weight_decay")), a(s.number("ns_coefficient1")),
          b(s.number("ns_coefficient2")), c(s.number("ns_coefficient3")), eps(s.number("eps")), clip_value(s.number("clip_value")),
          adamw_lr_ratio(s.number("adamw_lr_ratio")), steps(int(s.number("ns_steps"))), nesterov(s.flag("nesterov")),
          matches_adamw(s.flag("adjust_lr_fn")) {}
};

template <class T>
class MuonMatrix final : public WholeUpdate<T> {
public:
    MuonMatrix(const MuonOptions& options, const ParameterShape& shape) : o(options), shape_(shape), size_(parameter_size<T>(shape)) {
        const Matrix<T> m = parameter_matrix<T>(shape, nullptr);
        turns_ = m.rows < m.columns;
        rows_ = std::max(m.rows, m.columns), columns_ = std::min(m.rows, m.columns);
        area_ = std::max(size_, room(rows_));
    }

    std::vector<KeptArray> kept() const override { return {{shape_, true}}; }
    int64_t scratch() const override { return 2 * area_ + 2 * room(columns_); }
    double operations() const override {
        return 10 * double(size_) + o.steps * 2.0 * double(columns_) * double(columns_) * double(2 * rows_ + columns_);
    }

    void update(const UpdateStep& step, T* value, const T* gradient, T* const* states, T* scratch) const override {
        const Vec<T> momentum = broadcast<T>(T(o.momentum)), fresh = broadcast<T>(T(1 - o.momentum));
        const bool looks_ahead = o.nesterov;
        each_vector<T, 1>(step, o.clip_value, scratch, gradient, states, size_, [=](Vec<T>, Vec<T> g, Vec<T>* state) ALWAYS_INLINE {
            state[0] = state[0] * momentum + fresh * g;
            return looks_ahead ? momentum * state[0] + fresh * g : state[0];
        });
        const T* const direction = orthogonal(scratch, scratch + area_, scratch + 2 * area_, scratch + 2 * area_ + room(columns_));
        step_along(value, 1 - step.lr * o.weight_decay, step.lr * adjustment(), direction, size_);
    }

private:
    int64_t room(int64_t rows) const { return round_up(matrix_size<T>(rows, columns_), 64); }

    double adjustment() const {
        const double n = double(shape_.n_out), m = double(shape_.n_in);
        return o.matches_adamw ? 0.2 * std::sqrt(std::max(n, m)) : std::sqrt(std::max(1.0, n / m));
    }

    // Of x, which lies as the parameter; where the result lies, which is x or y.
    const T* orthogonal(T* x, T* y, T* square, T* fourth) const {
        const Matrix<T> given = parameter_matrix<T>(shape_, x);
        each(x, size_, [norm = broadcast<T>(T(std::max(std::sqrt(sum_of_squares(given, 0)), o.eps)))](Vec<T> v, Vec<T>) ALWAYS_INLINE { return v / norm; }, x);
        if (turns_) {
            transpose<T>(given, {y, rows_, columns_}, 0, given.columns);
            std::swap(x, y);
        }
        const Matrix<T> s(square, columns_, columns_), s2(fourth, columns_, columns_);
        const Vec<T> a = broadcast<T>(T(o.a)), b = broadcast<T>(T(o.b)), c = broadcast<T>(T(o.c));
        for (int i = 0; i < o.steps; ++i) {
            const Matrix<T> from(x, rows_, columns_), to(y, rows_, columns_);
            linear_gradient<T>(from, from, {.weight = square}, 0, columns_);  // xᵀ x
            std::fill(fourth, fourth + room(columns_), T(0));
            linear::multiply<T>(s, s, s2, nullptr, Finish::plain, {});
            each(square, room(columns_), [=](Vec<T> v, Vec<T> w) ALWAYS_INLINE { return b * v + c * w; }, fourth);
            each(y, room(rows_), [=](Vec<T>, Vec<T> v) ALWAYS_INLINE { return a * v; }, x);
            linear::multiply<T>(from, s, to, nullptr, Finish::plain, {});
            std::swap(x, y);
        }
        if (!turns_) return x;
        transpose<T>({x, rows_, columns_}, parameter_matrix<T>(shape_, y), 0, columns_);
        std::fill(y + matrix_size<T>(given.rows, given.columns), y + size_, T(0));  // what lies behind the padding of its rows
        return y;
    }
    // to = f(to, from), number by number
    template <class F>
    FORCE_INLINE static void each(T* to, int64_t n, F f, const T* from) {
        for (int64_t i = 0; i < n; i += lanes<T>) store_unaligned(to + i, f(load_unaligned(to + i), load_unaligned(from + i)));
    }

    MuonOptions o;
    ParameterShape shape_;
    int64_t size_, area_, rows_, columns_;
    bool turns_;  // x is what lies in memory, transposed
};

template <class T>
class MuonVector final : public WholeUpdate<T> {
public:
    MuonVector(const AdamOptions& options, double lr_ratio, const ParameterShape& shape)
        : adamw_(options), lr_ratio_(lr_ratio), shape_(shape), size_(parameter_size<T>(shape)) {}

    std::vector<KeptArray> kept() const override { return {{shape_, true}, {shape_, true}}; }
    double operations() const override { return 20 * double(size_); }
    void update(const UpdateStep& step, T* value, const T* gradient, T* const* states, T*) const override {
        UpdateStep own = step;
        own.lr *= lr_ratio_, own.momentum = -1;
        adamw_.update(own, value, gradient, states, size_);
    }

private:
    Adam<T, true, false> adamw_;
    double lr_ratio_;
    ParameterShape shape_;
    int64_t size_;
};

template <class T>
class Muon final : public WholeOptimizer<T> {
public:
    explicit Muon(const Settings& settings) : o(settings), adamw_(of_adamw(settings)) {}

    bool spoils_padding() const override { return adamw_.eps == 0; }
    std::unique_ptr<WholeUpdate<T>> of_whole(const ParameterShape& shape) const override {
        if (shape.n_in == 0 || shape.taps > 0) return std::make_unique<MuonVector<T>>(adamw_, o.adamw_lr_ratio, shape);
        return std::make_unique<MuonMatrix<T>>(o, shape);
    }

private:
    // weight_decay is that of the parameter, as Python's decay_of says it
    static AdamOptions of_adamw(const Settings& s) {
        Settings adamw;
        adamw.kind = s.kind;
        adamw.numbers = {{"beta1", s.number("adamw_beta1")}, {"beta2", s.number("adamw_beta2")}, {"eps", s.number("adamw_eps")},
                         {"weight_decay", s.number("weight_decay")}, {"clip_value", s.number("clip_value")}, {"amsgrad", 0}};
        return AdamOptions(adamw);
    }

    MuonOptions o;
    AdamOptions adamw_;
};

template <class T>
std::unique_ptr<Optimizer<T>> make_muon(const Settings& settings) {
    return std::make_unique<Muon<T>>(settings);
}

}  // namespace chainrule
