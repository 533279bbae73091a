// The normalizations, twins of chainrule.layers.normalization.
//
//     LayerNorm, RMSNorm  along each row
//     GroupNorm           down the columns of each sample, those of a group together; InstanceNorm is one channel a group
#include "../matrices.h"
#include "../rows.h"
#include "affine.h"
#include "standardized.h"

namespace chainrule {

template <class T>
class RowNorm final : public Affine<T> {
    using Layer<T>::x, Layer<T>::y, Layer<T>::wants_dx, Layer<T>::adds_dx;

public:
    RowNorm(const Making& making, bool centers) : Affine<T>(making), eps_(making.settings.number("eps")), centers_(centers) {}

    Manners manners() const override {
        Manners m;
        m.reads_x = true;
        return m;
    }
    double operations() const override { return 10.0 * double(y().columns) * double(y().positions); }

    void lay_out(Arena& arena, int64_t batch, bool) override {
        const int64_t rows = checked_product(batch, x().positions);
        mean_ = arena.take<T>(rows), rest_ = arena.take<T>(rows), s_ = arena.take<T>(rows);
    }

    void infer(const Matrix<T>* x, const Matrix<T>& y) const override {
        T mean[lanes<T>], rest[lanes<T>], s[lanes<T>];
        with_row_kind(y, [&](auto kind) { this->template apply<kind, false>(x[0], y, mean, rest, s); });
    }
    void forward(const Pass&, int64_t begin, int64_t end) override {
        const int64_t first = begin * x().positions;
        with_row_kind(y().rows(begin, end), [&](auto kind) {
            this->template apply<kind, true>(x().rows(begin, end), y().rows(begin, end), mean_ + first, rest_ + first, s_ + first);
        });
    }
    void backward(const Pass& pass, int64_t samples) override {
        backward_inputs(pass, 0, samples);  // first, for an update may ride on the gradient of the weight
        backward_parameters(pass, samples, {}, false);
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        if (!wants_dx(pass)) return;
        with_row_kind(y().rows(begin, end), [&](auto kind) {
            if (adds_dx()) this->template back<kind, true>(begin, end);
            else this->template back<kind, false>(begin, end);
        });
    }
    // Threads divide the columns. Each sum is one chain, row after row.
    void backward_parameters(const Pass& pass, int64_t samples, Share share, bool) override {
        if (!this->weight_.is_trained && !this->bias_.is_trained) return;
        const Matrix<T> from = x().rows(0, samples), dy = y().gradient_rows(0, samples);
        const int64_t begin = share.begin(dy.columns, panel<T>), end = share.end(dy.columns, panel<T>);
        each_column_vector(dy, [&](auto width, auto part, int64_t c, int64_t place) ALWAYS_INLINE {
            constexpr int w = decltype(width)::value, k = decltype(part)::value;
            if (c < begin || c >= round_up(end, panel<T>) || begin == end) return;
            const T *d = dy.data + place, *at = from.data + place;
            Vec<T> of_weight = this->weight_.is_trained ? this->weight_.start(pass, c, k) : Vec<T>{};
            Vec<T> of_bias = this->bias_.is_trained ? this->bias_.start(pass, c, k) : Vec<T>{};
            for (int64_t r = 0; r < dy.rows; ++r) {
                const Vec<T> g = load_partial(d + r * w, k);
                const Vec<T> x_hat = (load_partial(at + r * w, k) - broadcast<T>(mean_[r]) - broadcast<T>(rest_[r])) * broadcast<T>(s_[r]);
                of_weight = fma(g, x_hat, of_weight), of_bias += g;
            }
            if (this->weight_.is_trained) this->weight_.finish(pass, c, of_weight, k);
            if (this->bias_.is_trained) this->bias_.finish(pass, c, of_bias, k);
        });
    }
    int backward_phases() const override { return 2; }
    void backward_part(const Pass& pass, int64_t samples, int phase, Share share) override {
        if (phase == 0) this->by_rows(samples, share, [&](int64_t begin, int64_t end) { backward_inputs(pass, begin, end); });
        else backward_parameters(pass, samples, share, false);
    }

private:
    // mean, rest, s: of each row if they are kept, else of a group of rows at a time.
    template <RowKind kind, bool keeps>
    void apply(Matrix<T> x, Matrix<T> y, T* mean, T* rest, T* s) const {
        using C = Chunk<T, kind>;
        const ChunkMask<T> tail = tail_mask<T>(x.columns);
        const Matrix<T> weight(this->weight_.value, 1, x.columns), bias(this->bias_.value, 1, x.columns);
        const Vec<T> n = broadcast<T>(T(x.columns)), eps = broadcast<T>(T(eps_));
        each_row_group<T>(x.rows, [&](int64_t r, auto count) ALWAYS_INLINE {
            T means[lanes<T>] = {}, sums[lanes<T>], squares[lanes<T>];
            // Σ over a row of what term makes of a chunk, whose padding counts as `none` afterwards.
            auto sum = [&](T* to, auto term) ALWAYS_INLINE {
                reduce_rows(count, to, [&](int i) ALWAYS_INLINE {
                    Lanes16<T> total = Lanes16<T>::zeros();
                    each_chunk<kind>(x.columns, [&](int64_t c, auto full) ALWAYS_INLINE {
                        Lanes16<T> a = C::load(chunk_at<kind>(x, r + i, c));
                        for (int j = 0; j < C::vectors; ++j) {
                            Vec<T> t = term(a.v[j], i);
                            if constexpr (!full) t = keep<T>(tail.v[j], t);
                            total.v[j] += t;
                        }
                    });
                    return total;
                }, add);
            };
            if (centers_) {
                sum(sums, [](Vec<T> a, int) ALWAYS_INLINE { return a; });
                store_unaligned(means, load_unaligned(sums) / n);
                sum(sums, [&](Vec<T> a, int i) ALWAYS_INLINE { return a - broadcast<T>(means[i]); });
            } else {
                store_unaligned(sums, Vec<T>{});
            }
            sum(squares, [&](Vec<T> a, int i) ALWAYS_INLINE { const Vec<T> d = a - broadcast<T>(means[i]); return d * d; });
            const Vec<T> left = load_unaligned(sums) / n, var = load_unaligned(squares) / n - left * left;
            const Vec<T> scale = broadcast<T>(1) / sqrt<T>(at_least<T>(Vec<T>{}, var) + eps);
            T lefts[lanes<T>], scales[lanes<T>];
            store_unaligned(lefts, left), store_unaligned(scales, scale);
            for (int i = 0; i < count; ++i) {
                const int64_t to = keeps ? r + i : i;
                mean[to] = means[i], rest[to] = lefts[i], s[to] = scales[i];
                const Vec<T> m = broadcast<T>(means[i]), l = broadcast<T>(lefts[i]), f = broadcast<T>(scales[i]);
                write_row<kind>(y, r + i, tail, [&](int64_t c) ALWAYS_INLINE {
                    Lanes16<T> a = C::load(chunk_at<kind>(x, r + i, c));
                    for (int j = 0; j < C::vectors; ++j) a.v[j] = (a.v[j] - m - l) * f;
                    if (weight.data) {
                        const Lanes16<T> w = C::load(chunk_at<kind>(weight, 0, c));
                        for (int j = 0; j < C::vectors; ++j) a.v[j] *= w.v[j];
                    }
                    if (bias.data) {
                        const Lanes16<T> b = C::load(chunk_at<kind>(bias, 0, c));
                        for (int j = 0; j < C::vectors; ++j) a.v[j] += b.v[j];
                    }
                    return a;
                });
            }
        });
    }

    template <RowKind kind, bool adds>
    void back(int64_t begin, int64_t end) const {
        using C = Chunk<T, kind>;
        const Matrix<T> from = x().rows(begin, end), dy = y().gradient_rows(begin, end), dx = x().gradient_rows(begin, end);
        const ChunkMask<T> tail = tail_mask<T>(dy.columns);
        const Matrix<T> weight(this->weight_.value, 1, dy.columns);
        const int64_t first = begin * x().positions;
        const Vec<T> n = broadcast<T>(T(dy.columns));
        each_row_group<T>(dy.rows, [&](int64_t r, auto count) ALWAYS_INLINE {
            auto x_hat = [&](int64_t c, int i) ALWAYS_INLINE {
                Lanes16<T> a = C::load(chunk_at<kind>(from, r + i, c));
                const int64_t at = first + r + i;
                for (int j = 0; j < C::vectors; ++j) a.v[j] = (a.v[j] - broadcast<T>(mean_[at]) - broadcast<T>(rest_[at])) * broadcast<T>(s_[at]);
                return a;
            };
            auto dx_hat = [&](int64_t c, int i) ALWAYS_INLINE {
                Lanes16<T> g = C::load(chunk_at<kind>(dy, r + i, c));
                if (!weight.data) return g;
                const Lanes16<T> w = C::load(chunk_at<kind>(weight, 0, c));
                for (int j = 0; j < C::vectors; ++j) g.v[j] *= w.v[j];
                return g;
            };
            T of_mean[lanes<T>], of_var[lanes<T>];
            auto sum = [&](T* to, bool with_x_hat) ALWAYS_INLINE {
                reduce_rows(count, to, [&](int i) ALWAYS_INLINE {
                    Lanes16<T> total = Lanes16<T>::zeros();
                    each_chunk<kind>(dy.columns, [&](int64_t c, auto full) ALWAYS_INLINE {
                        Lanes16<T> g = dx_hat(c, i);
                        if (with_x_hat) {
                            const Lanes16<T> a = x_hat(c, i);
                            for (int j = 0; j < C::vectors; ++j) g.v[j] *= a.v[j];
                        }
                        for (int j = 0; j < C::vectors; ++j) {
                            if constexpr (!full) g.v[j] = keep<T>(tail.v[j], g.v[j]);
                            total.v[j] += g.v[j];
                        }
                    });
                    return total;
                }, add);
            };
            if (centers_) sum(of_mean, false);
            else store_unaligned(of_mean, Vec<T>{});
            sum(of_var, true);
            T first_term[lanes<T>], second[lanes<T>];
            store_unaligned(first_term, load_unaligned(of_mean) / n), store_unaligned(second, load_unaligned(of_var) / n);
            for (int i = 0; i < count; ++i) {
                const Vec<T> m = broadcast<T>(first_term[i]), v = broadcast<T>(second[i]), f = broadcast<T>(s_[first + r + i]);
                write_row<kind>(dx, r + i, tail, [&](int64_t c) ALWAYS_INLINE {
                    const Lanes16<T> a = x_hat(c, i);
                    Lanes16<T> g = dx_hat(c, i);
                    for (int j = 0; j < C::vectors; ++j) g.v[j] = f * (g.v[j] - m - a.v[j] * v);
                    if constexpr (adds) {
                        const Lanes16<T> before = C::load(chunk_at<kind>(dx, r + i, c));
                        for (int j = 0; j < C::vectors; ++j) g.v[j] += before.v[j];
                    }
                    return g;
                });
            }
        });
    }

    double eps_;
    bool centers_;
    T *mean_ = nullptr, *rest_ = nullptr, *s_ = nullptr;  // of each row
};

template <class T>
class GroupNorm final : public Affine<T> {
    using Layer<T>::x, Layer<T>::y, Layer<T>::wants_dx, Layer<T>::adds_dx;

public:
    explicit GroupNorm(const Making& making) : Affine<T>(making), eps_(making.settings.number("eps")), of_group_(int64_t(making.settings.number("of_group"))) {
        if (of_group_ < 1 || making.y.columns % of_group_ != 0) making.refuse("groups must have the same number of columns");
        padded_ = round_up(making.y.columns, panel_width<T>(making.y.columns));
    }

    Manners manners() const override {
        Manners m;
        m.reads_x = true;
        return m;
    }
    double operations() const override { return 10.0 * double(y().columns) * double(y().positions); }

    void lay_out(Arena& arena, int64_t batch, bool) override {
        of_sample_ = arena.take<T>(checked_product(batch, size()));
        in_evaluation_ = arena.take<T>(size());
    }

    void infer(const Matrix<T>* x, const Matrix<T>& y) const override {
        const auto statistics = ColumnStatistics<T>::at(in_evaluation_, padded_);
        const int64_t positions = this->y().positions;
        for (int64_t first = 0; first < y.rows; first += positions) one(x[0].slice(first, first + positions), y.slice(first, first + positions), statistics);
    }
    void forward(const Pass&, int64_t begin, int64_t end) override {
        for (int64_t s = begin; s < end; ++s) one(x().rows(s, s + 1), y().rows(s, s + 1), of(s));
    }
    void backward(const Pass& pass, int64_t samples) override {
        backward_inputs(pass, 0, samples);
        backward_parameters(pass, samples, {}, false);
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        for (int64_t s = begin; s < end; ++s) {
            const Matrix<T> from = x().rows(s, s + 1), dy = y().gradient_rows(s, s + 1), dx = x().gradient_rows(s, s + 1);
            sum_gradients(from, dy, of(s));
            T* const scratch = of_sample_ + s * size() + ColumnStatistics<T>::count * padded_;
            if (!wants_dx(pass)) continue;
            if (adds_dx()) standardize_backward<T, true>(from, dy, dx, of_group_, of(s), this->weight_.value, true, scratch, padded_);
            else standardize_backward<T, false>(from, dy, dx, of_group_, of(s), this->weight_.value, true, scratch, padded_);
        }
    }
    void backward_parameters(const Pass& pass, int64_t samples, Share share, bool) override {
        if (share.index > 0) return;
        for (int64_t c = 0; c < padded_; c += lanes<T>) {
            const int n = int(padded_ - c < lanes<T> ? padded_ - c : lanes<T>);
            Vec<T> of_weight = this->weight_.is_trained ? this->weight_.start(pass, c, n) : Vec<T>{};
            Vec<T> of_bias = this->bias_.is_trained ? this->bias_.start(pass, c, n) : Vec<T>{};
            for (int64_t s = 0; s < samples; ++s) of_weight += load_partial(of(s).of_dy_x_hat + c, n), of_bias += load_partial(of(s).of_dy + c, n);
            if (this->weight_.is_trained) this->weight_.finish(pass, c, of_weight, n);
            if (this->bias_.is_trained) this->bias_.finish(pass, c, of_bias, n);
        }
    }
    int backward_phases() const override { return 2; }
    void backward_part(const Pass& pass, int64_t samples, int phase, Share share) override {
        if (phase == 0) this->by_rows(samples, share, [&](int64_t begin, int64_t end) { backward_inputs(pass, begin, end); });
        else backward_parameters(pass, samples, share, false);
    }

private:
    void one(const Matrix<T>& x, const Matrix<T>& y, const ColumnStatistics<T>& statistics) const {
        find_statistics(x, of_group_, eps_, statistics);
        standardize(x, y, statistics, this->weight_.value, this->bias_.value);
    }
    int64_t size() const { return (ColumnStatistics<T>::count + 2) * padded_; }
    ColumnStatistics<T> of(int64_t sample) const { return ColumnStatistics<T>::at(of_sample_ + sample * size(), padded_); }

    double eps_;
    int64_t of_group_, padded_ = 0;
    T *of_sample_ = nullptr, *in_evaluation_ = nullptr;
};

template <class T>
std::unique_ptr<Layer<T>> make_normalization(const Making& making) {
    const std::string& kind = making.settings.kind;
    if (kind == "LayerNorm" || kind == "RMSNorm") return std::make_unique<RowNorm<T>>(making, kind == "LayerNorm");
    if (kind == "GroupNorm") return std::make_unique<GroupNorm<T>>(making);
    return nullptr;
}

template std::unique_ptr<Layer<NUMBER>> make_normalization<NUMBER>(const Making&);

}  // namespace chainrule
