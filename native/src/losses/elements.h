// Losses that compare element by element: what one is says a function of the vectors of y and of the target; the passes
// over rows are the same for all.
//
// Views are taken by value where functions are inlined: through a reference the compiler would have to read them anew after
// every store. Else by reference: copying them through the stack costs as much as a row.
#pragma once

#include <algorithm>

#include "../rows.h"
#include "sums.h"

namespace chainrule::losses_detail {

// A loss and its slope with respect to y.
template <class T>
struct Element {
    Vec<T> value, slope;
};

// A loss that counts an element only where its target is there: elsewhere value and slope are 0, whatever y says.
template <class T, class Function>
struct WhereThere {
    Function loss;
    FORCE_INLINE Element<T> operator()(Vec<T> y, Vec<T> target, int64_t column) const {
        const Vec<T> one = broadcast<T>(1);  // with a target of 1 every loss and its slope are finite
        const Mask<T> there = target == target;
        const Element<T> l = loss(there ? y : one, there ? target : one, column);
        return {keep<T>(there, l.value), keep<T>(there, l.slope)};
    }
};

// Rows of at most 8 columns without weights: two of them fill sixteen lanes, and one sum serves a block of 16 rows.
template <class T, class Function>
NO_INLINE void element_blocks(Function loss, const Matrix<T>& y, const Matrix<T>& target, const Matrix<T>& dy, double denominator, double* partial) {
    constexpr int V = Lanes16<T>::vectors, L = lanes<T>;
    const T *const y_data = y.data, *const target_data = target.data;
    T* const dy_data = dy.data;
    const int64_t rows = y.rows;
    const Vec<T> scale = broadcast<T>(T(scale_of(denominator)));
    Mask<T> one_row[V], two_rows[V];  // lanes that hold numbers, not padding
    const IntVec<T> columns = broadcast<Integer<T>>(Integer<T>(y.columns));
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) {
        const IntVec<T> lane = iota<Integer<T>>() + broadcast<Integer<T>>(Integer<T>(j * L));
        two_rows[j] = (lane & broadcast<Integer<T>>(narrow_panel - 1)) < columns;
        one_row[j] = lane < columns;
    }
    for (int64_t begin = 0; begin < rows; begin += loss_block) {
        const int64_t end = (begin + loss_block < rows ? begin + loss_block : rows) * narrow_panel;
        Lanes16<T> total = Lanes16<T>::zeros();
        auto pair = [&](int64_t at, const Mask<T>* mask, auto n) ALWAYS_INLINE {
            const Lanes16<T> a = Lanes16<T>::load_partial(y_data + at, n), t = Lanes16<T>::load_partial(target_data + at, n);
#pragma GCC unroll 8
            for (int j = 0; j < (decltype(n)::value + L - 1) / L; ++j) {
                const Element<T> l = loss(a.v[j], t.v[j], 0);
                total.v[j] += keep<T>(mask[j], l.value);
                if (dy_data) store_partial(dy_data + at + j * L, keep<T>(mask[j], scale * l.slope), n - j * L);
            }
        };
        int64_t at = begin * narrow_panel;
        for (; at + virtual_lanes <= end; at += virtual_lanes) pair(at, two_rows, std::integral_constant<int, virtual_lanes>{});
        if (at < end) pair(at, one_row, std::integral_constant<int, narrow_panel>{});
        *partial++ = double(total.sum());
    }
}

template <RowKind kind, class T, class Function>
FORCE_INLINE void element_rows(Function loss, Matrix<T> y, Target<T> target, Matrix<T> dy, double denominator, double* partial) {
    using C = Chunk<T, kind>;
    const ChunkMask<T> tail = tail_mask<T>(y.columns);
    const double scale = scale_of(denominator);
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

// The mean is over all elements.
template <class T>
class MeanOfElements : public Loss<T> {
public:
    explicit MeanOfElements(const Settings& settings)
        : mean_(settings.flag("mean")), ignores_missing_(settings.chose("missing", "ignore")) {}
    bool ignores_missing() const final { return ignores_missing_; }
    double there(const T* row, int64_t columns) const final {
        return double(std::count_if(row, row + columns, [](T t) { return !std::isnan(t); }));
    }
    double denominator(const Target<T>& target, int64_t rows, int64_t columns) const override {
        return mean_ ? sum_of_weights(target, rows, columns) : 1;
    }

private:
    bool mean_, ignores_missing_;
};

// Apart, so that whoever misses nothing runs what was there before.
template <class T, class Function>
NO_INLINE void element_rows_where_there(Function loss, Matrix<T> y, Target<T> target, Matrix<T> dy, double denominator, double* partial) {
    const WhereThere<T, Function> where_there{loss};
    if (y.is_narrow() && !target.sample_weight) return element_blocks<T>(where_there, y, target.values, dy, denominator, partial);
    with_row_kind(y, [&](auto kind) { element_rows<kind>(where_there, y, target, dy, denominator, partial); });
}

// A loss that is the same function in every column, made from the settings.
template <class T, class Function>
class ElementLoss final : public MeanOfElements<T> {
public:
    explicit ElementLoss(const Settings& settings) : MeanOfElements<T>(settings), function_(settings) {}
    void rows(const Matrix<T>& y, const Target<T>& target, const Matrix<T>& dy, double denominator, double* partial) const override {
        if (this->ignores_missing()) return element_rows_where_there<T>(function_, y, target, dy, denominator, partial);
        if (y.is_narrow() && !target.sample_weight) return element_blocks<T>(function_, y, target.values, dy, denominator, partial);
        with_row_kind(y, [&](auto kind) { element_rows<kind>(function_, y, target, dy, denominator, partial); });
    }

private:
    Function function_;
};

}  // namespace chainrule::losses_detail
