// Sum, Multiply and Concat, the twins of the classes in chainrule.layers.joins.
//
//     Sum       y = x_1 + … + x_n              dx_k = dy
//     Multiply  y = x_1 · … · x_n              dx_k = dy · the product of the others, from the first to the last
//     Concat    columns of all side by side    dx_k = its part of dy
#include "../matrices.h"
#include "layers.h"

namespace chainrule {

template <class T>
class Join : public Layer<T> {
public:
    explicit Join(const Making& making) {
        for (const ValueShape& x : making.x)
            if (x.columns != making.y.columns || x.positions != making.y.positions) making.refuse("all that it reads and writes must be of one shape");
    }

protected:
    using Layer<T>::x, Layer<T>::y, Layer<T>::inputs, Layer<T>::wants_dx, Layer<T>::adds_dx;

    // to = f(from, to's old numbers)
    template <class F>
    static void combine(const Matrix<T>& from, const Matrix<T>& to, F f) {
        const Matrix<T> a = from, b = to;
        each_run(a, [&](int64_t p, int64_t i) ALWAYS_INLINE {
            T* at = b.data + p * b.pitch + i;
            store_unaligned(at, f(load_unaligned(a.data + p * a.pitch + i), load_unaligned(at)));
        });
    }
    template <class F>
    static void combine(const Matrix<T>& one, const Matrix<T>& other, const Matrix<T>& to, F f) {
        const Matrix<T> a = one, b = other, c = to;
        each_run(a, [&](int64_t p, int64_t i) ALWAYS_INLINE {
            store_unaligned(c.data + p * c.pitch + i, f(load_unaligned(a.data + p * a.pitch + i), load_unaligned(b.data + p * b.pitch + i)));
        });
    }
    // y = f(f(x_1, x_2), x_3) …; at(k) is x_k
    template <class At, class F>
    static void fold_inputs(size_t n, At at, const Matrix<T>& y, F f) {
        if (n == 1) return copy_rows<T>(at(0), y);
        combine(at(0), at(1), y, f);
        for (size_t k = 2; k < n; ++k) combine(at(k), y, [&](auto a, auto b) ALWAYS_INLINE { return f(b, a); });
    }
};

template <class T>
class Sum final : public Join<T> {
    using Join<T>::x, Join<T>::y, Join<T>::inputs, Join<T>::wants_dx, Join<T>::adds_dx;

public:
    using Join<T>::Join;

    Manners manners() const override {
        Manners m;
        m.passes_dy = m.masks_dx = m.carries_relu = true;
        return m;
    }
    void infer(const Matrix<T>* x, const Matrix<T>& y) const override {
        add([&](size_t k) { return x[k]; }, y);
    }
    void forward(const Pass&, int64_t begin, int64_t end) override {
        add([&](size_t k) { return x(k).rows(begin, end); }, y().rows(begin, end));
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        const Matrix<T> dy = y().gradient_rows(begin, end);
        if (this->place_.carries_relu && !y().reader_masks) mask_by_relu<T>(dy, y().rows(begin, end), y().scale_in(pass.training));
        for (size_t k = 0; k < inputs(); ++k) {
            if (!wants_dx(pass, k) || this->coming(k).how == Coming::How::given) continue;
            const Matrix<T> dx = x(k).gradient_rows(begin, end);
            if (adds_dx(k)) add_rows_of<T>(dy, dx);
            else if (x(k).reader_masks)  // what it reads is laid out as its gradient
                this->combine(dy, x(k).rows(begin, end), dx, x(k).mask(pass.training, begin));
            else copy_rows<T>(dy, dx);
        }
    }

private:
    template <class At>
    void add(At at, const Matrix<T>& y) const {
        const auto plus = [](auto a, auto b) ALWAYS_INLINE { return a + b; };
        if (!this->place_.carries_relu) return this->fold_inputs(inputs(), at, y, plus);
        if (inputs() == 2) return this->combine(at(0), at(1), y, [](auto a, auto b) ALWAYS_INLINE { return positive_part<T>(a + b); });
        this->fold_inputs(inputs(), at, y, plus);
        this->combine(y, y, [](auto a, auto) ALWAYS_INLINE { return positive_part<T>(a); });
    }
};

template <class T>
class Multiply final : public Join<T> {
    using Join<T>::x, Join<T>::y, Join<T>::inputs, Join<T>::wants_dx, Join<T>::adds_dx;

public:
    using Join<T>::Join;

    Manners manners() const override {
        Manners m;
        m.reads_x = true;
        return m;
    }
    void infer(const Matrix<T>* x, const Matrix<T>& y) const override {
        this->fold_inputs(inputs(), [&](size_t k) { return x[k]; }, y, times);
    }
    void forward(const Pass&, int64_t begin, int64_t end) override {
        this->fold_inputs(inputs(), [&](size_t k) { return x(k).rows(begin, end); }, y().rows(begin, end), times);
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        const Matrix<T> dy = y().gradient_rows(begin, end);
        for (size_t k = 0; k < inputs(); ++k) {
            if (!wants_dx(pass, k)) continue;
            if (adds_dx(k)) backward_of<true>(k, dy, begin, end);
            else backward_of<false>(k, dy, begin, end);
        }
    }

private:
    template <bool adds>
    void backward_of(size_t k, const Matrix<T>& dy, int64_t begin, int64_t end) const {
        const Matrix<T> d = dy, dx = x(k).gradient_rows(begin, end);
        each_run(d, [&](int64_t p, int64_t i) ALWAYS_INLINE {
            Vec<T> mine = load_unaligned(d.data + p * d.pitch + i);
            for (size_t j = 0; j < inputs(); ++j)
                if (j != k) {
                    const Matrix<T> other = x(j).rows(begin, end);
                    mine = mine * load_unaligned(other.data + p * other.pitch + i);
                }
            T* at = dx.data + p * dx.pitch + i;
            store_unaligned(at, adds ? load_unaligned(at) + mine : mine);
        });
    }
    static constexpr auto times = [](auto a, auto b) ALWAYS_INLINE { return a * b; };
};

// ---- side by side ------------------------------------------------------------------------------------------------

// Columns of one matrix to, or added to, columns of another with as many rows.
template <bool adds, class T>
void move_columns(const Matrix<T>& from, int64_t from_column, const Matrix<T>& to, int64_t to_column, int64_t count) {
    const int64_t from_width = from.width(), to_width = to.width();
    while (count > 0) {  // what lies in one panel of either
        const int64_t left = from_width - from_column % from_width, room = to_width - to_column % to_width;
        int64_t n = left < room ? left : room;
        n = n < count ? n : count;
        const T* source = from.data + from.column_offset(from_column);
        T* target = to.data + to.column_offset(to_column);
        for (int64_t r = 0; r < from.rows; ++r, source += from_width, target += to_width)
            for (int64_t c = 0; c < n; c += lanes<T>) {
                const int part = int(n - c < lanes<T> ? n - c : lanes<T>);
                const Vec<T> mine = load_partial(source + c, part);
                store_partial(target + c, adds ? load_partial(target + c, part) + mine : mine, part);
            }
        from_column += n, to_column += n, count -= n;
    }
}

template <class T>
class Concat final : public Layer<T> {
    using Layer<T>::x, Layer<T>::y, Layer<T>::inputs, Layer<T>::wants_dx, Layer<T>::adds_dx;

public:
    explicit Concat(const Making& making) {
        int64_t columns = 0;
        for (const ValueShape& x : making.x) {
            if (x.positions != making.y.positions) making.refuse("all that it reads must have as many positions");
            columns += x.columns;
        }
        if (columns != making.y.columns) making.refuse("the output must have the columns of all inputs together");
    }

    Manners manners() const override { return {}; }
    void infer(const Matrix<T>* x, const Matrix<T>& y) const override {
        join([&](size_t k) { return x[k]; }, y);
    }
    void forward(const Pass&, int64_t begin, int64_t end) override {
        join([&](size_t k) { return x(k).rows(begin, end); }, y().rows(begin, end));
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        const Matrix<T> dy = y().gradient_rows(begin, end);
        int64_t column = 0;
        for (size_t k = 0; k < inputs(); column += x(k++).columns) {
            if (!wants_dx(pass, k)) continue;
            const Matrix<T> dx = x(k).gradient_rows(begin, end);
            if (adds_dx(k)) {
                move_columns<true>(dy, column, dx, 0, dx.columns);
            } else {
                move_columns<false>(dy, column, dx, 0, dx.columns);
                clear_padding(dx);
            }
        }
    }

private:
    template <class At>
    void join(At at, const Matrix<T>& y) const {
        int64_t column = 0;
        for (size_t k = 0; k < inputs(); ++k) {
            const Matrix<T> x = at(k);
            move_columns<false>(x, 0, y, column, x.columns);
            column += x.columns;
        }
        clear_padding(y);
    }
};

template <class T>
std::unique_ptr<Layer<T>> make_join(const Making& making) {
    if (making.settings.kind == "Sum") return std::make_unique<Sum<T>>(making);
    if (making.settings.kind == "Multiply") return std::make_unique<Multiply<T>>(making);
    if (making.settings.kind == "Concat") return std::make_unique<Concat<T>>(making);
    return nullptr;
}

template std::unique_ptr<Layer<NUMBER>> make_join<NUMBER>(const Making&);

}  // namespace chainrule
