// The losses, each the twin of the class of the same name in chainrule.losses: value and gradient in one pass.
//
// A loss of a batch is Σ_i w_i l_i / denominator, where w_i are the weights of the samples (1 if there are none). The
// denominator is that of the mean: of the elements (MSELoss and its like: m Σ w_i for m outputs), or of the classes'
// weights (CrossEntropyLoss, NLLLoss); 1 for reduction "sum". Where it is 0, value and gradient are 0.
//
// A row's elements are added in the order of rows.h, in T; the values of rows are weighted and added in double, in
// ascending order within a block of 16 rows, and each block gives one number: so neither the width of the vectors nor
// the number of threads changes a bit.
#pragma once

#include <vector>

#include "softmax.h"

namespace chainrule {

enum class LossKind { MSELoss, L1Loss, SmoothL1Loss, HuberLoss, QuantileLoss, PoissonNLLLoss, BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss };

inline constexpr int64_t loss_block = 16;  // rows that share a partial sum

// One number per column, in both types, padded to whole chunks.
struct ColumnValues {
    std::vector<double> as_double;
    std::vector<float> as_float;

    bool empty() const { return as_double.empty(); }
    template <class T>
    const T* data() const {
        if constexpr (sizeof(T) == 4) return as_float.data();
        else return as_double.data();
    }
    // A single number counts for every column; the padding is 0.
    void assign(const std::vector<double>& values, int64_t columns) {
        as_double.assign(size_t(round_up(columns, virtual_lanes)), 0.0);
        for (size_t c = 0; c < size_t(columns); ++c) as_double[c] = values.size() == 1 ? values[0] : values[c];
        as_float.assign(as_double.begin(), as_double.end());
    }
};

struct Loss {
    LossKind kind = LossKind::MSELoss;
    bool mean = true;             // reduction "mean", else "sum"
    double beta = 1;              // SmoothL1Loss; 0 is L1Loss
    double delta = 1;             // HuberLoss
    double quantile = 0.5;        // QuantileLoss
    bool log_input = true;        // PoissonNLLLoss
    double eps = 1e-8;            // PoissonNLLLoss without log_input
    int64_t ignore_index = -100;  // CrossEntropyLoss, NLLLoss
    double label_smoothing = 0;   // CrossEntropyLoss
    ColumnValues weight;          // of classes, or of elements (BCEWithLogitsLoss); empty: 1
    ColumnValues pos_weight;      // BCEWithLogitsLoss; empty: 1

    // Weights as Python has them: empty, one number, or one per column. Called once, before the run.
    void set_weights(const std::vector<double>& weights, const std::vector<double>& pos_weights, int64_t columns) {
        const bool either = !weights.empty() || !pos_weights.empty();
        if (!weights.empty() || (either && kind == LossKind::BCEWithLogitsLoss)) weight.assign(weights.empty() ? std::vector<double>{1} : weights, columns);
        if (either && kind == LossKind::BCEWithLogitsLoss) pos_weight.assign(pos_weights.empty() ? std::vector<double>{1} : pos_weights, columns);
    }
};

// What the rows of y are compared with: values of the same shape, or one class index per row.
template <class T>
struct Target {
    Matrix<T> values;
    const int64_t* indices = nullptr;
    const T* sample_weight = nullptr;

    Target slice(int64_t begin, int64_t end) const {
        Target t = *this;
        if (t.values.data) t.values = t.values.slice(begin, end);
        if (t.indices) t.indices += begin;
        if (t.sample_weight) t.sample_weight += begin;
        return t;
    }
};

namespace losses_detail {

// ---- element losses: value and slope with respect to y -----------------------------------------------------------

template <class T>
struct Element {
    Vec<T> value, slope;
};

// The sign of e, 0 at 0 and NaN for NaN: the derivative of |e|
template <class T>
FORCE_INLINE Vec<T> sign(std::type_identity_t<Vec<T>> e) {
    return abs<T>(e) > Vec<T>{} ? elementary::copysign<T>(broadcast<T>(1), e) : e;
}

// e²
template <class T>
struct MSELoss {
    explicit MSELoss(const Loss&) {}
    FORCE_INLINE Element<T> operator()(Vec<T> y, Vec<T> target, int64_t) const {
        const Vec<T> e = y - target;
        return {e * e, e + e};
    }
};

// |e|
template <class T>
struct L1Loss {
    explicit L1Loss(const Loss&) {}
    FORCE_INLINE Element<T> operator()(Vec<T> y, Vec<T> target, int64_t) const {
        const Vec<T> e = y - target;
        return {abs<T>(e), sign<T>(e)};
    }
};

// e² / (2 beta) where |e| < beta, |e| - beta / 2 elsewhere
template <class T>
struct SmoothL1Loss {
    Vec<T> beta, one_over_beta;
    explicit SmoothL1Loss(const Loss& l) : beta(broadcast<T>(T(l.beta))), one_over_beta(broadcast<T>(l.beta > 0 ? T(1 / l.beta) : T(0))) {}
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
    explicit HuberLoss(const Loss& l) : delta(broadcast<T>(T(l.delta))) {}
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
    explicit QuantileLoss(const Loss& l) : below(broadcast<T>(T(-l.quantile))), above(broadcast<T>(T(1 - l.quantile))) {}
    FORCE_INLINE Element<T> operator()(Vec<T> y, Vec<T> target, int64_t) const {
        const Vec<T> e = y - target, slope = e < Vec<T>{} ? below : above;
        return {slope * e, abs<T>(e) > Vec<T>{} ? slope : e};
    }
};

// e^y - target y, where y is the logarithm of the rate; or y - target log(y + eps), where it is the rate
template <class T, bool log_input>
struct PoissonNLLLoss {
    Vec<T> eps;
    explicit PoissonNLLLoss(const Loss& l) : eps(broadcast<T>(T(l.eps))) {}
    FORCE_INLINE Element<T> operator()(Vec<T> y, Vec<T> target, int64_t) const {
        if constexpr (log_input) {
            const Vec<T> rate = exp<T>(y);
            return {rate - target * y, rate - target};
        } else {
            const Vec<T> rate = y + eps;
            return {y - target * log<T>(rate), broadcast<T>(1) - target / rate};
        }
    }
};

// weight (pos_weight t log(1 + e^-y) + (1 - t) log(1 + e^y)), which is -log of the sigmoid of y, or of -y, without
// overflow; its slope is weight ((1 - t) sigmoid(y) - pos_weight t sigmoid(-y)). One exponential serves all of it.
template <class T, bool weighted>
struct BCEWithLogitsLoss {
    const T *weight, *pos_weight;
    explicit BCEWithLogitsLoss(const Loss& l) : weight(l.weight.data<T>()), pos_weight(l.pos_weight.data<T>()) {}
    FORCE_INLINE Element<T> operator()(Vec<T> y, Vec<T> target, int64_t column) const {
        const Vec<T> one = broadcast<T>(1);
        const Vec<T> e = elementary::exp_negative<T>(-abs<T>(y)), small_log = elementary::log1p_finite<T>(e);
        const Vec<T> of_larger = one / (one + e), of_smaller = e * of_larger;  // sigmoid(|y|), sigmoid(-|y|)
        const Mask<T> negative = y < Vec<T>{};
        const Vec<T> sigmoid = negative ? of_smaller : of_larger, sigmoid_of_minus = negative ? of_larger : of_smaller;
        const Vec<T> zeros = zero<T>();
        Vec<T> positives = target, negatives = one - target;
        if constexpr (weighted) {
            const Vec<T> w = load_unaligned(weight + column);
            positives = w * load_unaligned(pos_weight + column) * positives;
            negatives = w * negatives;
        }
        return {positives * (at_least<T>(zeros, -y) + small_log) + negatives * (at_least<T>(zeros, y) + small_log),
                negatives * sigmoid - positives * sigmoid_of_minus};
    }
};

// ---- rows --------------------------------------------------------------------------------------------------------
//
// Views are taken by value, by inlined functions: through a reference the compiler would have to read them anew after
// every store, and copying them through the stack costs as much as a row.

// Adds the values of rows r … to the partial sums of their blocks. The groups of rows divide a block.
template <class T, class Count>
FORCE_INLINE void add_rows(double* partial, int64_t r, Count n, const double* sample_weight, const T* values) {
    double& sum = partial[r / loss_block];
    if (r % loss_block == 0) sum = 0;
    for (int i = 0; i < n; ++i) sum += sample_weight[i] * double(values[i]);
}

// Rows of at most 8 columns without weights: two of them fill sixteen lanes, and one sum serves a block of 16 rows.
template <class T, class Loss>
NO_INLINE void element_blocks(Loss loss, Matrix<T> y, Target<T> target, Matrix<T> dy, double denominator, double* partial) {
    constexpr int V = Lanes16<T>::vectors, L = lanes<T>;
    const Vec<T> scale = broadcast<T>(T(denominator != 0 ? 1 / denominator : 0));
    Mask<T> one_row[V], two_rows[V];  // lanes that hold numbers, not padding
    const IntVec<T> columns = broadcast<Integer<T>>(Integer<T>(y.columns));
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) {
        const IntVec<T> lane = iota<Integer<T>>() + broadcast<Integer<T>>(Integer<T>(j * L));
        two_rows[j] = (lane & broadcast<Integer<T>>(narrow_panel - 1)) < columns;
        one_row[j] = lane < columns;
    }
    for (int64_t begin = 0; begin < y.rows; begin += loss_block) {
        const int64_t end = (begin + loss_block < y.rows ? begin + loss_block : y.rows) * narrow_panel;
        Lanes16<T> total = Lanes16<T>::zeros();
        auto pair = [&](int64_t at, const Mask<T>* mask, auto n) ALWAYS_INLINE {
            const Lanes16<T> a = Lanes16<T>::load_partial(y.data + at, n), t = Lanes16<T>::load_partial(target.values.data + at, n);
#pragma GCC unroll 8
            for (int j = 0; j < (decltype(n)::value + L - 1) / L; ++j) {
                const Element<T> l = loss(a.v[j], t.v[j], 0);
                total.v[j] += keep<T>(mask[j], l.value);
                if (dy.data) store_partial(dy.data + at + j * L, keep<T>(mask[j], scale * l.slope), n - j * L);
            }
        };
        int64_t at = begin * narrow_panel;
        for (; at + virtual_lanes <= end; at += virtual_lanes) pair(at, two_rows, std::integral_constant<int, virtual_lanes>{});
        if (at < end) pair(at, one_row, std::integral_constant<int, narrow_panel>{});
        *partial++ = double(total.sum());
    }
}

template <RowKind kind, class T, class Loss>
FORCE_INLINE void element_rows(Loss loss, Matrix<T> y, Target<T> target, Matrix<T> dy, double denominator, double* partial) {
    using C = Chunk<T, kind>;
    const ChunkMask<T> tail = tail_mask<T>(y.columns);
    const double scale = denominator != 0 ? 1 / denominator : 0;
    each_row_group<T>(y.rows, [&](int64_t r, auto n) ALWAYS_INLINE {
        double w[lanes<T>];
        auto row = [&](int i) ALWAYS_INLINE {
            w[i] = target.sample_weight ? double(target.sample_weight[r + i]) : 1.0;
            const Vec<T> s = broadcast<T>(T(w[i] * scale));
            Lanes16<T> total = Lanes16<T>::zeros();
            auto chunk = [&](int64_t c) ALWAYS_INLINE {
                Lanes16<T> a = C::load(chunk_at<kind>(y, r + i, c));
                const Lanes16<T> t = C::load(chunk_at<kind>(target.values, r + i, c));
                const bool last = c + virtual_lanes > y.columns;
                C::each_vector([&](int j) ALWAYS_INLINE {
                    const Element<T> l = loss(a.v[j], t.v[j], c + j * lanes<T>);
                    total.v[j] += last ? keep<T>(tail.v[j], l.value) : l.value;
                    a.v[j] = s * l.slope;
                });
                return a;
            };
            if (dy.data) write_row<kind>(dy, r + i, tail, chunk);
            else each_chunk<kind>(y.columns, [&](int64_t c, auto) ALWAYS_INLINE { chunk(c); });
            return total;
        };
        T values[lanes<T>];
        reduce_rows(n, values, row, add);
        add_rows(partial, r, n, w, values);
    });
}

// Does a row with this class index count for nothing? Indices are checked at the border; what slips through, because
// another thread writes to them, is ignored too, so that nothing is ever read out of bounds.
FORCE_INLINE bool is_ignored(int64_t index, int64_t columns, int64_t ignore_index) {
    return index == ignore_index || uint64_t(index) >= uint64_t(columns);
}

// Class indices, no label smoothing: softmax and log cancel, dy = weight (p - [c = target]).
template <RowKind kind, class T>
FORCE_INLINE void cross_entropy_rows(const Loss& loss, Matrix<T> y, Target<T> target, Matrix<T> dy, double denominator, double* partial) {
    using C = Chunk<T, kind>;
    const double scale = denominator != 0 ? 1 / denominator : 0;
    const double* class_weight = loss.weight.empty() ? nullptr : loss.weight.as_double.data();
    const int64_t ignore_index = loss.ignore_index;
    SoftmaxRows<T, kind> rows(y.columns);
    each_row_group<T>(y.rows, [&](int64_t r, auto n) ALWAYS_INLINE {
        double w[lanes<T>];
        T at_target[lanes<T>] = {};
        int64_t index[lanes<T>];
        for (int i = 0; i < n; ++i) {
            const bool ignored = is_ignored(target.indices[r + i], y.columns, ignore_index);
            index[i] = ignored ? 0 : target.indices[r + i];
            w[i] = ignored ? 0.0 : target.sample_weight ? double(target.sample_weight[r + i]) : 1.0;
            if (class_weight) w[i] *= class_weight[index[i]];
            at_target[i] = element_at<kind>(y, r + i, index[i]);
        }
        rows.find_largest(y, r, n);
        rows.add_terms(y, r, n, dy);
        const Vec<T> sums = load_unaligned(rows.sum);
        T values[lanes<T>], reciprocal[lanes<T>];
        store_unaligned(values, elementary::log_normal<T>(sums) - (load_unaligned(at_target) - load_unaligned(rows.largest)));
        for (int i = 0; i < n; ++i)
            if (w[i] == 0) values[i] = 0;  // an ignored row counts for nothing, whatever stands in it
        add_rows(partial, r, n, w, values);
        if (!dy.data) return;
        store_unaligned(reciprocal, broadcast<T>(1) / sums);
        for (int i = 0; i < n; ++i) {
            const T s = T(w[i] * scale);
            const Vec<T> factor = broadcast<T>(s * reciprocal[i]);
            write_row<kind>(dy, r + i, rows.tail, [&](int64_t c) ALWAYS_INLINE {
                Lanes16<T> a = rows.term(dy, r, i, c);
                for (int j = 0; j < C::vectors; ++j) {
                    a.v[j] *= factor;
                    if constexpr (kind != RowKind::long_row)  // cheaper than to wait for the row to be stored
                        a.v[j] -= keep<T>(iota<Integer<T>>() == broadcast<Integer<T>>(Integer<T>(index[i] - j * lanes<T>)), broadcast<T>(s));
                }
                return a;
            });
            if constexpr (kind == RowKind::long_row) element_at<kind>(dy, r + i, index[i]) -= s;
        }
    });
}

// Any distribution t: with t' = (1 - ε) t + ε / C, q = weight t' and Q = Σ q the loss is Q log Σ e^y - Σ q y and
// dy = Q p - q.
template <RowKind kind, class T>
FORCE_INLINE void cross_entropy_distribution_rows(const Loss& loss, Matrix<T> y, Target<T> target, Matrix<T> dy, double denominator,
                                     double* partial) {
    using C = Chunk<T, kind>;
    const double scale = denominator != 0 ? 1 / denominator : 0;
    const Vec<T> kept = broadcast<T>(T(1 - loss.label_smoothing)), spread = broadcast<T>(T(loss.label_smoothing / double(y.columns)));
    const T* class_weight = loss.weight.empty() ? nullptr : loss.weight.data<T>();
    const int64_t ignore_index = loss.ignore_index;
    SoftmaxRows<T, kind> rows(y.columns);
    each_row_group<T>(y.rows, [&](int64_t r, auto n) ALWAYS_INLINE {
        auto q = [&](int i, int64_t c) ALWAYS_INLINE {
            Lanes16<T> a = target.indices ? Lanes16<T>::zeros() : C::load(chunk_at<kind>(target.values, r + i, c));
            C::each_vector([&](int j) ALWAYS_INLINE {
                if (target.indices) {
                    const Vec<T> column = iota<T>() + broadcast<T>(T(c + j * lanes<T>));
                    a.v[j] = keep<T>(column == broadcast<T>(T(target.indices[r + i])), broadcast<T>(1));
                }
                a.v[j] = fma(kept, a.v[j], spread);
                if (class_weight) a.v[j] *= load_unaligned(class_weight + c + j * lanes<T>);
            });
            return c + virtual_lanes > y.columns ? rows.tail.keep(a) : a;
        };
        double w[lanes<T>];
        T masses[lanes<T>], products[lanes<T>];
        rows.find_largest(y, r, n);
        for (int i = 0; i < n; ++i) {
            const bool ignored = target.indices && is_ignored(target.indices[r + i], y.columns, ignore_index);
            w[i] = ignored ? 0.0 : target.sample_weight ? double(target.sample_weight[r + i]) : 1.0;
        }
        auto mass_of = [&](int i) ALWAYS_INLINE {
            Lanes16<T> total = Lanes16<T>::zeros();
            each_chunk<kind>(y.columns, [&](int64_t c, auto) ALWAYS_INLINE { total.add(q(i, c)); });
            return total;
        };
        auto product_of = [&](int i) ALWAYS_INLINE {
            Lanes16<T> total = Lanes16<T>::zeros();
            const Vec<T> m = broadcast<T>(rows.largest[i]);
            each_chunk<kind>(y.columns, [&](int64_t c, auto) ALWAYS_INLINE {
                Lanes16<T> a = C::load(chunk_at<kind>(y, r + i, c));
                for (int j = 0; j < C::vectors; ++j) a.v[j] -= m;
                total.add_product(q(i, c), a);
            });
            return total;
        };
        reduce_rows(n, masses, mass_of, add);
        reduce_rows(n, products, product_of, add);
        rows.add_terms(y, r, n, dy);
        const Vec<T> sums = load_unaligned(rows.sum), mass = load_unaligned(masses);
        T values[lanes<T>], factor[lanes<T>];
        store_unaligned(values, mass * elementary::log_normal<T>(sums) - load_unaligned(products));
        for (int i = 0; i < n; ++i)
            if (w[i] == 0) values[i] = 0;
        add_rows(partial, r, n, w, values);
        if (!dy.data) return;
        store_unaligned(factor, mass / sums);
        for (int i = 0; i < n; ++i) {
            const Vec<T> s = broadcast<T>(T(w[i] * scale)), f = broadcast<T>(factor[i]);
            write_row<kind>(dy, r + i, rows.tail, [&](int64_t c) ALWAYS_INLINE {
                Lanes16<T> a = rows.term(dy, r, i, c);
                const Lanes16<T> t = q(i, c);
                C::each_vector([&](int j) ALWAYS_INLINE { a.v[j] = s * fma(a.v[j], f, -t.v[j]); });
                return a;
            });
        }
    });
}

// y holds logarithms of probabilities: the loss is -weight y[target], and dy is -weight there, 0 elsewhere.
template <RowKind kind, class T>
FORCE_INLINE void nll_rows(const Loss& loss, Matrix<T> y, Target<T> target, Matrix<T> dy, double denominator, double* partial) {
    const double scale = denominator != 0 ? 1 / denominator : 0;
    const double* class_weight = loss.weight.empty() ? nullptr : loss.weight.as_double.data();
    const int64_t ignore_index = loss.ignore_index;
    const ChunkMask<T> tail = tail_mask<T>(y.columns);
    for (int64_t r = 0; r < y.rows; ++r) {
        const bool ignored = is_ignored(target.indices[r], y.columns, ignore_index);
        const int64_t index = ignored ? 0 : target.indices[r];
        double w = ignored ? 0.0 : target.sample_weight ? double(target.sample_weight[r]) : 1.0;
        if (class_weight) w *= class_weight[index];
        const T value = w == 0 ? T(0) : -element_at<kind>(y, r, index);
        add_rows(partial, r, 1, &w, &value);
        if (!dy.data) continue;
        write_row<kind>(dy, r, tail, [&](int64_t) ALWAYS_INLINE { return Lanes16<T>::zeros(); });
        element_at<kind>(dy, r, index) = -T(w * scale);
    }
}

// Σ of f(i) over i < n in double: sixteen running sums, then by halves.
template <class Function>
double sum_double(int64_t n, Function f) {
    double lane[virtual_lanes] = {};
    for (int64_t i = 0; i < n; ++i) lane[i % virtual_lanes] += f(i);
    for (int half = virtual_lanes / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
    return lane[0];
}

}  // namespace losses_detail

// ---- what the loop calls -----------------------------------------------------------------------------------------

// By what Σ_i w_i l_i is divided, for a whole batch.
template <class T>
double loss_denominator(const Loss& loss, const Target<T>& target, int64_t rows, int64_t columns) {
    using namespace losses_detail;
    if (!loss.mean) return 1;
    auto weight = [&](int64_t r) { return target.sample_weight ? double(target.sample_weight[r]) : 1.0; };
    if (loss.kind == LossKind::CrossEntropyLoss || loss.kind == LossKind::NLLLoss) {
        if (target.indices && !loss.weight.empty())
            return sum_double(rows, [&](int64_t r) {
                const int64_t index = target.indices[r];
                return is_ignored(index, columns, loss.ignore_index) ? 0.0 : weight(r) * loss.weight.as_double[size_t(index)];
            });
        if (target.indices && target.sample_weight)
            return sum_double(rows, [&](int64_t r) { return is_ignored(target.indices[r], columns, loss.ignore_index) ? 0.0 : weight(r); });
        if (target.indices) {
            int64_t ignored = 0;
            for (int64_t r = 0; r < rows; ++r) ignored += is_ignored(target.indices[r], columns, loss.ignore_index);
            return double(rows - ignored);
        }
        columns = 1;  // one loss per row
    }
    return double(columns) * (target.sample_weight ? sum_double(rows, weight) : double(rows));
}

// What loss_rows calls. Two units, because they take longest to compile.
template <class T>
void element_loss_rows(const Loss& loss, const Matrix<T>& y, const Target<T>& target, const Matrix<T>& dy, double denominator,
                       double* partial) {
    using namespace losses_detail;
    with_row_kind(y, [&](auto kind) {
        auto elements = [&](auto element) {
            if (kind == RowKind::narrow && !target.sample_weight) element_blocks<T>(element, y, target, dy, denominator, partial);
            else element_rows<kind>(element, y, target, dy, denominator, partial);
        };
        switch (loss.kind) {
            case LossKind::MSELoss: elements(MSELoss<T>(loss)); break;
            case LossKind::L1Loss: elements(L1Loss<T>(loss)); break;
            case LossKind::SmoothL1Loss: elements(SmoothL1Loss<T>(loss)); break;
            case LossKind::HuberLoss: elements(HuberLoss<T>(loss)); break;
            case LossKind::QuantileLoss: elements(QuantileLoss<T>(loss)); break;
            case LossKind::PoissonNLLLoss:
                if (loss.log_input) elements(PoissonNLLLoss<T, true>(loss));
                else elements(PoissonNLLLoss<T, false>(loss));
                break;
            case LossKind::BCEWithLogitsLoss:
                if (loss.weight.empty()) element_rows<kind>(BCEWithLogitsLoss<T, false>(loss), y, target, dy, denominator, partial);
                else element_rows<kind>(BCEWithLogitsLoss<T, true>(loss), y, target, dy, denominator, partial);
                break;
            default: break;
        }
    });
}

template <class T>
void class_loss_rows(const Loss& loss, const Matrix<T>& y, const Target<T>& target, const Matrix<T>& dy, double denominator,
                     double* partial) {
    using namespace losses_detail;
    with_row_kind(y, [&](auto kind) {
        if (loss.kind == LossKind::NLLLoss) nll_rows<kind>(loss, y, target, dy, denominator, partial);
        else if (target.indices && loss.label_smoothing == 0) cross_entropy_rows<kind>(loss, y, target, dy, denominator, partial);
        else cross_entropy_distribution_rows<kind>(loss, y, target, dy, denominator, partial);
    });
}

#define ELEMENT_LOSSES(LINKAGE, T) \
    LINKAGE template void element_loss_rows<T>(const Loss&, const Matrix<T>&, const Target<T>&, const Matrix<T>&, double, double*)
#define CLASS_LOSSES(LINKAGE, T) \
    LINKAGE template void class_loss_rows<T>(const Loss&, const Matrix<T>&, const Target<T>&, const Matrix<T>&, double, double*)
ELEMENT_LOSSES(extern, float);  // here only announced: losses_of_elements.cpp makes them
ELEMENT_LOSSES(extern, double);
CLASS_LOSSES(extern, float);  // losses_of_classes.cpp
CLASS_LOSSES(extern, double);

// Rows that begin at a multiple of 16 in their batch. Writes the gradient to dy (which may be y's memory; nowhere if
// it has none), its padding 0, and to partial[b] the undivided sum of the values of rows 16 b … 16 b + 15.
template <class T>
void loss_rows(const Loss& loss, const Matrix<T>& y, const Target<T>& target, const Matrix<T>& dy, double denominator, double* partial) {
    const bool of_classes = loss.kind == LossKind::CrossEntropyLoss || loss.kind == LossKind::NLLLoss;
    if (of_classes) class_loss_rows<T>(loss, y, target, dy, denominator, partial);
    else element_loss_rows<T>(loss, y, target, dy, denominator, partial);
}

}  // namespace chainrule
