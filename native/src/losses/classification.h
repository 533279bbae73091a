// Losses for targets that are classes or probabilities.
#pragma once

#include "../softmax.h"
#include "elements.h"

namespace chainrule {
namespace losses_detail {

// weight (pos_weight t log(1 + e^-y) + (1 - t) log(1 + e^y)), which is -log of the sigmoid of y, or of -y, without
// overflow; its slope is weight ((1 - t) sigmoid(y) - pos_weight t sigmoid(-y)). One exponential serves all of it.
template <class T, bool weighted>
struct Answers {
    const T *weight, *pos_weight;  // one number per column, if weighted
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

template <class T>
class BCEWithLogitsLoss final : public MeanOfElements<T> {
public:
    BCEWithLogitsLoss(const Settings& settings, int64_t columns)
        : MeanOfElements<T>(settings),
          weight_(per_column<T>(settings, "weight", columns)),
          pos_weight_(per_column<T>(settings, "pos_weight", columns)) {
        if (weight_.empty() && pos_weight_.empty()) return;
        for (std::vector<T>* missing : {&weight_, &pos_weight_})
            if (missing->empty()) missing->assign(size_t(round_up(columns, virtual_lanes)), T(1));
    }
    void rows(const Matrix<T>& y, const Target<T>& target, const Matrix<T>& dy, double denominator, double* partial) const override {
        if (this->ignores_missing()) return rows_where_there(y, target, dy, denominator, partial);
        with_row_kind(y, [&](auto kind) {
            if (weight_.empty()) element_rows<kind>(Answers<T, false>{}, y, target, dy, denominator, partial);
            else element_rows<kind>(Answers<T, true>{weight_.data(), pos_weight_.data()}, y, target, dy, denominator, partial);
        });
    }

private:
    NO_INLINE void rows_where_there(Matrix<T> y, Target<T> target, Matrix<T> dy, double denominator, double* partial) const {
        with_row_kind(y, [&](auto kind) {
            if (weight_.empty()) element_rows<kind>(WhereThere<T, Answers<T, false>>{}, y, target, dy, denominator, partial);
            else element_rows<kind>(WhereThere<T, Answers<T, true>>{{weight_.data(), pos_weight_.data()}}, y, target, dy, denominator, partial);
        });
    }

    std::vector<T> weight_, pos_weight_;  // both or neither
};

// Does a row with this class index count for nothing? Indices are checked at the border; what slips through, because
// another thread writes to them, is ignored too, so that nothing is ever read out of bounds.
FORCE_INLINE bool is_ignored(int64_t index, int64_t columns, int64_t ignore_index) {
    return index == ignore_index || uint64_t(index) >= uint64_t(columns);
}

// What CrossEntropyLoss and NLLLoss share: class weights, an index to ignore, and a mean over what the rows count.
template <class T>
class ClassLoss : public Loss<T> {
public:
    ClassLoss(const Settings& settings, int64_t columns)
        : mean_(settings.flag("mean")),
          ignores_missing_(settings.chose("missing", "ignore")),
          ignore_index_(int64_t(settings.number("ignore_index"))),
          class_weight_(per_column<double>(settings, "weight", columns)) {}

    bool ignores_missing() const final { return ignores_missing_; }
    // A distribution is there as a whole, or not at all.
    double there(const T* row, int64_t columns) const final {
        return std::none_of(row, row + columns, [](T t) { return std::isnan(t); });
    }
    double denominator(const Target<T>& target, int64_t rows, int64_t columns) const override {
        if (!mean_) return 1;
        if (!target.indices) return sum_of_weights(target, rows);
        const auto ignored = [&](int64_t r) { return is_ignored(target.indices[r], columns, ignore_index_); };
        const auto weight = [&](int64_t r) { return target.sample_weight ? double(target.sample_weight[r]) : 1.0; };
        if (!class_weight_.empty())
            return sum_double(rows, [&](int64_t r) { return ignored(r) ? 0.0 : weight(r) * class_weight_[size_t(target.indices[r])]; });
        if (target.sample_weight) return sum_double(rows, [&](int64_t r) { return ignored(r) ? 0.0 : weight(r); });
        int64_t out = 0;
        for (int64_t r = 0; r < rows; ++r) out += ignored(r);
        return double(rows - out);
    }

protected:
    const double* class_weight() const { return class_weight_.empty() ? nullptr : class_weight_.data(); }

    bool mean_, ignores_missing_;
    int64_t ignore_index_;
    std::vector<double> class_weight_;
};

template <class T>
class CrossEntropyLoss final : public ClassLoss<T> {
public:
    CrossEntropyLoss(const Settings& settings, int64_t columns)
        : ClassLoss<T>(settings, columns),
          label_smoothing_(settings.number("label_smoothing")),
          padded_weight_(per_column<T>(settings, "weight", columns)) {}
    void rows(const Matrix<T>& y, const Target<T>& target, const Matrix<T>& dy, double denominator, double* partial) const override {
        with_row_kind(y, [&](auto kind) {
            if (target.indices && label_smoothing_ == 0) rows_of_indices<kind>(y, target, dy, denominator, partial);
            else rows_of_distributions<kind>(y, target, dy, denominator, partial);
        });
    }

private:
    // Class indices, no label smoothing: softmax and log cancel, dy = weight (p - [c = target]).
    template <RowKind kind>
    FORCE_INLINE void rows_of_indices(Matrix<T> y, Target<T> target, Matrix<T> dy, double denominator, double* partial) const {
        using C = Chunk<T, kind>;
        const double scale = scale_of(denominator);
        const double* class_weight = this->class_weight();
        const int64_t ignore_index = this->ignore_index_;
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
    template <RowKind kind>
    FORCE_INLINE void rows_of_distributions(Matrix<T> y, Target<T> target, Matrix<T> dy, double denominator, double* partial) const {
        using C = Chunk<T, kind>;
        const double scale = scale_of(denominator);
        const Vec<T> kept = broadcast<T>(T(1 - label_smoothing_)), spread = broadcast<T>(T(label_smoothing_ / double(y.columns)));
        const T* class_weight = padded_weight_.empty() ? nullptr : padded_weight_.data();
        const int64_t ignore_index = this->ignore_index_;
        SoftmaxRows<T, kind> rows(y.columns);
        each_row_group<T>(y.rows, [&](int64_t r, auto n) ALWAYS_INLINE {
            auto is_missing = [&](int i) ALWAYS_INLINE { return target.there && target.there[r + i] == 0; };
            auto q = [&](int i, int64_t c) ALWAYS_INLINE {
                if (is_missing(i)) return Lanes16<T>::zeros();
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
                w[i] = ignored || is_missing(i) ? 0.0 : target.sample_weight ? double(target.sample_weight[r + i]) : 1.0;
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
                    if (is_missing(i)) return Lanes16<T>::zeros();  // y may say anything there
                    Lanes16<T> a = rows.term(dy, r, i, c);
                    const Lanes16<T> t = q(i, c);
                    C::each_vector([&](int j) ALWAYS_INLINE { a.v[j] = s * fma(a.v[j], f, -t.v[j]); });
                    return a;
                });
            }
        });
    }

    double label_smoothing_;
    std::vector<T> padded_weight_;  // of the classes; empty: 1
};

template <class T>
class NLLLoss final : public ClassLoss<T> {
public:
    using ClassLoss<T>::ClassLoss;
    bool needs_classes() const override { return true; }
    void rows(const Matrix<T>& y, const Target<T>& target, const Matrix<T>& dy, double denominator, double* partial) const override {
        with_row_kind(y, [&](auto kind) { rows_of_indices<kind>(y, target, dy, denominator, partial); });
    }

private:
    // y holds logarithms of probabilities: the loss is -weight y[target], and dy is -weight there, 0 elsewhere.
    template <RowKind kind>
    FORCE_INLINE void rows_of_indices(Matrix<T> y, Target<T> target, Matrix<T> dy, double denominator, double* partial) const {
        const double scale = scale_of(denominator);
        const double* class_weight = this->class_weight();
        const int64_t ignore_index = this->ignore_index_;
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
};

// log(1 + e^m), m = -target y
template <class T>
struct SoftMarginLoss {
    explicit SoftMarginLoss(const Settings&) {}
    FORCE_INLINE Element<T> operator()(Vec<T> y, Vec<T> target, int64_t) const {
        const Vec<T> margin = -target * y;
        return {log1p_exp<T>(margin), -target * sigmoid<T>(margin)};
    }
};

}  // namespace losses_detail

template <class T>
std::unique_ptr<Loss<T>> make_classification_loss(const Settings& settings, int64_t columns) {
    using namespace losses_detail;
    const auto is = [&](const char* name) { return settings.kind == name; };
    if (is("BCEWithLogitsLoss")) return std::make_unique<BCEWithLogitsLoss<T>>(settings, columns);
    if (is("CrossEntropyLoss")) return std::make_unique<CrossEntropyLoss<T>>(settings, columns);
    if (is("SoftMarginLoss")) return std::make_unique<ElementLoss<T, SoftMarginLoss<T>>>(settings);
    if (is("NLLLoss")) return std::make_unique<NLLLoss<T>>(settings, columns);
    return nullptr;
}

}  // namespace chainrule
