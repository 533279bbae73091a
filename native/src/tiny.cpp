// A unit of the engine (see CMakeLists.txt): steps of tiny networks for one type of number.
#include "tiny.h"

#include "eight.h"

namespace chainrule {
namespace {

// An activation behind a pointer, for the eight or sixteen numbers that it works on at a time.
template <class T>
struct Bend {
    virtual ~Bend() = default;
    bool saves_output = true;
    virtual void forward(const T* x, T* y, int n) const = 0;
    virtual void backward(const T* dy, const T* saved, T* dx, int n) const = 0;
};

template <class T, class F>
struct BendBy final : Bend<T> {
    F f;
    explicit BendBy(const F& function) : f(function) { this->saves_output = F::saves_output; }
    template <class Of>
    FORCE_INLINE static void each(int n, Of of) {
        for (int i = 0; i < n; i += lanes<T>) of(i, n - i < lanes<T> ? n - i : lanes<T>);
    }
    void forward(const T* x, T* y, int n) const override {
        each(n, [&](int i, int rest) ALWAYS_INLINE { store_partial(y + i, f.forward(load_partial(x + i, rest)), rest); });
    }
    void backward(const T* dy, const T* saved, T* dx, int n) const override {
        each(n, [&](int i, int rest) ALWAYS_INLINE { store_partial(dx + i, f.backward(load_partial(dy + i, rest), load_partial(saved + i, rest)), rest); });
    }
};

inline constexpr int most = narrow_panel;  // units of a layer

template <class T>
struct TinyLayer {
    int n_in = 0, n_out = 0, weight = 0, bias = -1;  // numbers of parameters
    bool relu = false;
    std::unique_ptr<Bend<T>> bend;  // null: none, or a ReLU
    T *w = nullptr, *b = nullptr, *w_gradient = nullptr, *b_gradient = nullptr;  // rows of eight: Wᵀ
    T* y = nullptr;  // sixteen times as many numbers as units: after the activation
    T* z = nullptr;  // before it, where it saves its input
    T* sums = nullptr;  // of gradients: sixteen lanes for each weight, then for each bias
};

template <class T>
class TinyNetwork final : public Tiny<T> {
public:
    explicit TinyNetwork(std::vector<TinyLayer<T>> layers) : layers_(std::move(layers)) {
        for (const TinyLayer<T>& layer : layers_) weights_ += layer.n_in * layer.n_out;
        for (const TinyLayer<T>& layer : layers_) of_one_unit_ = of_one_unit_ && layer.n_in == 1 && layer.n_out == 1;
    }

    // Many weights, and few samples unless a layer has hardly any weights, are better off in products/ (measured with AVX2
    // and AVX-512; both have to go the same way, for the sake of the same bits).
    bool takes(int64_t rows) const override { return rows == 1 || (weights_ <= 48 && (rows >= 8 || weights_ <= 8 * int64_t(layers_.size()))); }

    void lay_out(Arena& arena) override {
        for (TinyLayer<T>& layer : layers_) {
            layer.y = arena.take<T>(most * virtual_lanes);
            layer.z = layer.bend && !layer.bend->saves_output ? arena.take<T>(most * virtual_lanes) : layer.y;
            layer.sums = arena.take<T>((layer.n_in + 1) * layer.n_out * virtual_lanes);
        }
        x_ = arena.take<T>(most * virtual_lanes);
        d_ = arena.take<T>(2 * most * virtual_lanes);
        zeros_ = arena.take<T>(most);
    }
    void memory_is_there(Parameters<T>& parameters) override {
        for (TinyLayer<T>& layer : layers_) {
            layer.w = parameters.value(layer.weight);
            layer.w_gradient = parameters.gradient(layer.weight);
            layer.b = layer.bias >= 0 ? parameters.value(layer.bias) : zeros_;
            layer.b_gradient = layer.bias >= 0 ? parameters.gradient(layer.bias) : nullptr;
        }
    }

    double step(const T* x, const T* target, const int64_t* order, int64_t first, int64_t rows, double denominator, bool update, T lr) override {
        if (rows > 1) return many(x, target, order, first, rows, denominator, update, lr);
        const int64_t from = order ? order[first] : first;
        if (of_one_unit_) return number(x[from], target[from], denominator, update, lr);
        return one(x + from * layers_.front().n_in, target + from * layers_.back().n_out, denominator, update, lr);
    }

private:
    // ---- one sample: units in the lanes

    double one(const T* x, const T* target, double denominator, bool update, T lr) {
        const T* from = x;
        for (TinyLayer<T>& layer : layers_) {
            Eight<T> y = product(layer, from);
            if (layer.relu) y = y.positive_part();
            y.store(layer.z);
            if (layer.bend) layer.bend->forward(layer.z, layer.y, most);
            from = layer.y;
        }
        const int n = layers_.back().n_out;
        T t[most] = {};
        for (int c = 0; c < n; ++c) t[c] = target[c];
        T padded[most] = {};
        for (int c = 0; c < n; ++c) padded[c] = from[c];
        const Eight<T> e = Eight<T>::load(padded) - Eight<T>::load(t);
        const T value = (e * e).sum();
        Eight<T> dy = Eight<T>::all(denominator != 0 ? T(1 / denominator) : T(0)) * (e + e);
        for (size_t i = layers_.size(); i-- > 0;) {
            TinyLayer<T>& layer = layers_[i];
            if (layer.relu) {
                dy = dy.where_passed(Eight<T>::load(layer.y));
            } else if (layer.bend) {
                dy.store(d_);
                layer.bend->backward(d_, layer.bend->saves_output ? layer.y : layer.z, d_, most);
                dy = Eight<T>::load(d_);
            }
            dy = back(layer, i == 0 ? x : layers_[i - 1].y, dy, i > 0, update, lr);
        }
        return double(value);
    }

    FORCE_INLINE static Eight<T> product(const TinyLayer<T>& layer, const T* x) {
        const T* w = layer.w;
        const int n = layer.n_in;
        auto term = [&](int k, const Eight<T>& sum) ALWAYS_INLINE { return Eight<T>::fma(Eight<T>::all(x[k]), Eight<T>::load(w + k * most), sum); };
        Eight<T> a = term(0, Eight<T>::load(layer.b));
        if (n == 1) return a;
        Eight<T> b = term(1, Eight<T>::zeros());
        if (n == 2) return a + b;
        Eight<T> c = term(2, Eight<T>::zeros()), d = Eight<T>::zeros();
        if (n > 3) d = term(3, d);
        if (n > 4) a = term(4, a);
        if (n > 5) b = term(5, b);
        if (n > 6) c = term(6, c);
        if (n > 7) d = term(7, d);
        return (a + b) + (c + d);
    }

    FORCE_INLINE static Eight<T> back(const TinyLayer<T>& layer, const T* x, const Eight<T>& dy, bool wants_dx, bool update, T lr) {
        T dx[most] = {};
        const Eight<T> factor = Eight<T>::all(update ? -lr : T(1)), step = dy * factor;
        T* const to = update ? layer.w : layer.w_gradient;
        for (int k = 0; k < layer.n_in; ++k) {
            const Eight<T> w = Eight<T>::load(layer.w + k * most), xk = Eight<T>::all(x[k]);
            if (wants_dx) dx[k] = (dy * w).sum();
            (update ? Eight<T>::fma(xk, step, w) : xk * step).store(to + k * most);
        }
        if (layer.b_gradient) {
            if (update) Eight<T>::fma(dy, factor, Eight<T>::load(layer.b)).store(layer.b);
            else dy.store(layer.b_gradient);
        }
        return Eight<T>::load(dx);
    }

    // ---- one sample of layers with one unit each: numbers, with the bits of their lane

    double number(const T x, const T target, double denominator, bool update, T lr) {
        T from = x;
        for (const TinyLayer<T>& layer : layers_) {
            T y = chainrule::fma(from, layer.w[0], layer.b[0]);
            if (layer.relu && y <= 0) y = 0;
            layer.z[0] = y;
            if (layer.bend) layer.bend->forward(layer.z, layer.y, 1);
            from = layer.y[0];
        }
        const T e = from - target;
        T dy = (denominator != 0 ? T(1 / denominator) : T(0)) * (e + e);
        const T factor = update ? -lr : T(1);
        for (size_t i = layers_.size(); i-- > 0;) {
            const TinyLayer<T>& layer = layers_[i];
            if (layer.relu && layer.y[0] <= 0) dy = 0;
            if (layer.bend) {
                d_[0] = dy;
                layer.bend->backward(d_, layer.bend->saves_output ? layer.y : layer.z, d_, 1);
                dy = d_[0];
            }
            const T in = i == 0 ? x : layers_[i - 1].y[0], step = dy * factor, w = layer.w[0];
            if (update) layer.w[0] = chainrule::fma(in, step, w);
            else layer.w_gradient[0] = in * step;
            if (layer.b_gradient && update) layer.b[0] = chainrule::fma(dy, factor, layer.b[0]);
            else if (layer.b_gradient) layer.b_gradient[0] = dy;
            dy *= w;
        }
        return double(e * e);
    }

    // ---- many: sixteen samples in the lanes

    double many(const T* x, const T* target, const int64_t* order, int64_t first, int64_t rows, double denominator, bool update, T lr) {
        using L = Lanes16<T>;
        const int n_in = layers_.front().n_in, n_out = layers_.back().n_out;
        const T scale = denominator != 0 ? T(1 / denominator) : T(0);
        for (TinyLayer<T>& layer : layers_) std::memset(layer.sums, 0, size_t((layer.n_in + 1) * layer.n_out * virtual_lanes) * sizeof(T));
        double total = 0;
        for (int64_t begin = 0; begin < rows; begin += virtual_lanes) {
            const int n = int(rows - begin < virtual_lanes ? rows - begin : virtual_lanes);
            gather(x_, x, n_in, order, first + begin, n);
            const T* from = x_;
            for (TinyLayer<T>& layer : layers_) {
                for (int o = 0; o < layer.n_out; ++o) {
                    L y = all(layer.b[o]);
                    for (int k = 0; k < layer.n_in; ++k) y.add_product(L::load(from + k * virtual_lanes), all(layer.w[k * most + o]));
                    if (layer.relu)
                        for (auto& v : y.v) v = positive_part<T>(v);
                    put(layer.z + o * virtual_lanes, y);
                }
                if (layer.bend) layer.bend->forward(layer.z, layer.y, layer.n_out * virtual_lanes);
                from = layer.y;
            }
            // The loss: its targets lie where the gradient will.
            T* dy = d_;
            gather(dy, target, n_out, order, first + begin, n);
            L values[most];
            for (int o = 0; o < n_out; ++o) {
                const L y = L::load(from + o * virtual_lanes);
                L e = L::load_partial(dy + o * virtual_lanes, n);
                for (int j = 0; j < L::vectors; ++j) {
                    const Mask<T> there = first_lanes<T>(n - j * lanes<T> < 0 ? 0 : n - j * lanes<T> > lanes<T> ? lanes<T> : n - j * lanes<T>);
                    e.v[j] = keep<T>(there, y.v[j] - e.v[j]);
                    values[o].v[j] = e.v[j] * e.v[j];
                    e.v[j] = broadcast<T>(scale) * (e.v[j] + e.v[j]);
                }
                put(dy + o * virtual_lanes, e);
            }
            for (int half = 4; half > 0; half /= 2)
                for (int o = 0; o < half && o + half < n_out; ++o) values[o].add(values[o + half]);
            total += double(values[0].sum());
            T* dx = d_ + most * virtual_lanes;
            for (size_t i = layers_.size(); i-- > 0;) {
                TinyLayer<T>& layer = layers_[i];
                const T* const in = i == 0 ? x_ : layers_[i - 1].y;
                if (layer.bend) layer.bend->backward(dy, layer.bend->saves_output ? layer.y : layer.z, dy, layer.n_out * virtual_lanes);
                L back[most];
                for (int k = 0; k < layer.n_in; ++k) back[k] = L::zeros();
                T* sum = layer.sums;
                for (int o = 0; o < layer.n_out; ++o) {
                    L d = L::load(dy + o * virtual_lanes);
                    if (layer.relu) {
                        const L y = L::load(layer.y + o * virtual_lanes);
                        for (int j = 0; j < L::vectors; ++j) d.v[j] = keep<T>(passes_relu<T>(y.v[j]), d.v[j]);
                    }
                    for (int k = 0; k < layer.n_in; ++k, sum += virtual_lanes) {
                        L g = L::load(sum);
                        g.add_product(d, L::load(in + k * virtual_lanes));
                        put(sum, g);
                        if (i > 0) back[k].add_product(d, all(layer.w[k * most + o]));
                    }
                    L g = L::load(sum);
                    g.add(d);
                    put(sum, g);
                    sum += virtual_lanes;
                }
                for (int k = 0; i > 0 && k < layer.n_in; ++k) put(dx + k * virtual_lanes, back[k]);
                std::swap(dy, dx);
            }
        }
        for (TinyLayer<T>& layer : layers_) {
            const T* sum = layer.sums;
            for (int o = 0; o < layer.n_out; ++o) {
                for (int k = 0; k < layer.n_in; ++k, sum += virtual_lanes) give(L::load(sum).sum(), layer.w[k * most + o], layer.w_gradient[k * most + o], update, lr);
                if (layer.b_gradient) give(L::load(sum).sum(), layer.b[o], layer.b_gradient[o], update, lr);
                sum += virtual_lanes;
            }
        }
        return total;
    }

    FORCE_INLINE static void give(T g, T& value, T& gradient, bool update, T lr) {
        if (update) value = std::fma(-lr, g, value);
        else gradient = g;
    }
    FORCE_INLINE static Lanes16<T> all(T s) {
        Lanes16<T> r;
        for (auto& v : r.v) v = broadcast<T>(s);
        return r;
    }
    FORCE_INLINE static void put(T* to, const Lanes16<T>& a) {
        for (int j = 0; j < Lanes16<T>::vectors; ++j) store_unaligned(to + j * lanes<T>, a.v[j]);
    }
    // Columns of n rows to lanes. Those beyond become the first row again: whatever else passed through the layers there might
    // become infinite, which times a gradient of 0 is no 0.
    FORCE_INLINE static void gather(T* to, const T* data, int columns, const int64_t* order, int64_t first, int n) {
        for (int r = 0; r < n; ++r) {
            const T* row = data + (order ? order[first + r] : first + r) * columns;
            for (int c = 0; c < columns; ++c) to[c * virtual_lanes + r] = row[c];
        }
        if (n == virtual_lanes) return;
        for (int c = 0; c < columns; ++c) std::fill(to + c * virtual_lanes + n, to + (c + 1) * virtual_lanes, to[c * virtual_lanes]);
    }

    std::vector<TinyLayer<T>> layers_;
    int weights_ = 0;
    bool of_one_unit_ = true;
    T *x_ = nullptr, *d_ = nullptr, *zeros_ = nullptr;
};

// Is every parameter trained, and are all updated in the pass that makes their gradients (those of a Linear that follow the
// same rule, if it is plain), by one rate, or none of them?
template <class T>
bool updates_as_one(const Plan& plan, const std::vector<TinyLayer<T>>& layers) {
    const Parameters<T> parameters(plan);
    int fused = 0;
    for (const TinyLayer<T>& layer : layers) {
        const int weight = layer.weight, bias = layer.bias < 0 ? weight : layer.bias;
        if (!parameters.is_trained(weight) || !parameters.is_trained(bias)) return false;
        if (!parameters.is_plain(weight) || parameters.rule(bias) != parameters.rule(weight)) continue;
        if (parameters.rule(weight) != parameters.rule(layers[0].weight)) return false;
        ++fused;
    }
    return fused == 0 || fused == int(layers.size());
}

}  // namespace

template <class T>
std::unique_ptr<Tiny<T>> make_tiny(const Plan& plan) {
    if (plan.accumulate > 1) return nullptr;  // whose batches pass one by one
    if (plan.inputs.size() != 1 || plan.heads.size() != 1 || plan.heads[0].loss.kind != "MSELoss" || plan.heads[0].weight != 1) return nullptr;
    if (plan.heads[0].loss.chose("missing", "ignore")) return nullptr;
    std::vector<int> uses(plan.parameters.size(), 0);
    for (const Op& op : plan.ops)
        for (int p : op.parameters) ++uses[size_t(p)];
    if (std::any_of(uses.begin(), uses.end(), [](int n) { return n != 1; })) return nullptr;
    std::vector<TinyLayer<T>> layers;
    int value = plan.inputs[0];
    for (const Op& op : plan.ops) {
        const ValueShape &x = plan.values[size_t(value)], &y = plan.values[size_t(op.output)];
        if (op.inputs != std::vector<int>{value} || x.positions != 1 || x.columns > most || y.columns > most) return nullptr;
        if (op.settings.kind == "Linear" && !op.parameters.empty()) {
            TinyLayer<T> layer;
            layer.n_in = int(x.columns), layer.n_out = int(y.columns);
            layer.weight = op.parameters[0];
            layer.bias = op.parameters.size() > 1 ? op.parameters[1] : -1;
            layers.push_back(std::move(layer));
        } else {
            if (layers.empty() || layers.back().relu || layers.back().bend) return nullptr;
            if (op.settings.kind == "ReLU") layers.back().relu = true;
            else if (!with_activation<T>(op.settings, [&](auto f) { layers.back().bend = std::make_unique<BendBy<T, decltype(f)>>(f); })) return nullptr;
        }
        value = op.output;
    }
    if (layers.empty() || plan.outputs != std::vector<int>{value} || !updates_as_one<T>(plan, layers)) return nullptr;
    return std::make_unique<TinyNetwork<T>>(std::move(layers));
}

template std::unique_ptr<Tiny<NUMBER>> make_tiny<NUMBER>(const Plan&);

}  // namespace chainrule
