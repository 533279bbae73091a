// Linear, the twin of chainrule.layers.Linear: y = x Wᵀ + b, dx = dy W, dW = dyᵀ x, db = Σ_rows dy. The products are in
// products/; here is which of them a pass takes, where a ReLU rides along, and how threads divide it.
//
// Where dx takes x's place, dW comes first, or x waits aside if dx reads the weights that dW updates. Where x must stay, a
// large W passes once: block by block, dx and update while the block is in the nearest cache. Of a weight or a bias that is
// frozen no gradient is made.
#include "../products/row.h"
#include "activations.h"
#include "weighted.h"

namespace chainrule {

template <class T>
class Linear final : public Weighted<T> {
    using Weighted<T>::weight_, Weighted<T>::zeros_, Weighted<T>::bias, Weighted<T>::gradient, Weighted<T>::has_bias_, Weighted<T>::trains_weight_,
        Weighted<T>::trains_bias_, Weighted<T>::fuses_update_, Weighted<T>::adds_, Weighted<T>::rule_;
    using Layer<T>::x, Layer<T>::y, Layer<T>::place_, Layer<T>::wants_dx, Layer<T>::adds_dx, Layer<T>::by_rows;

public:
    explicit Linear(const Making& making)
        : Weighted<T>(making), n_in_(making.x[0].columns), n_out_(making.y.columns), positions_(making.x[0].positions) {
        if (making.x.size() != 1) making.refuse("it reads one value");
        const ParameterShape& weight = making.shapes[0];
        if (weight.taps != 0) making.refuse("the weight is a convolution's kernel");
        if (weight.n_in != n_in_) making.refuse("the weight takes " + std::to_string(weight.n_in) + " columns, got " + std::to_string(n_in_));
        if (weight.n_out != n_out_ || making.y.positions != positions_) making.refuse("the output does not fit");
        if (has_bias_ && (making.shapes[1].n_in != 0 || making.shapes[1].n_out != n_out_)) making.refuse("the bias does not fit the weight");
    }

    Manners manners() const override {
        Manners m;
        m.reads_x = m.carries_relu = m.masks_dx = true;
        m.writes_dx_over_x = n_out_ <= k_block && !is_big();
        return m;
    }
    double operations() const override { return 6.0 * double(positions_) * double(n_in_) * double(n_out_); }
    bool is_big() const override { return checked_product(n_in_, n_out_) * int64_t(sizeof(T)) > near_cache; }

    void lay_out(Arena& arena, int64_t batch, bool threaded) override {
        if (threaded && dx_needs_transpose(n_in_, n_out_)) transposed_ = Matrix<T>(arena.take<T>(matrix_size<T>(n_out_, n_in_)), n_out_, n_in_);
        aside_ = arena.take<T>(aside_size(batch));
    }
    int64_t shared_scratch(int64_t, bool threaded) const override {
        if (threaded || !dx_needs_transpose(n_in_, n_out_)) return 0;
        const int64_t block = n_out_ < k_block + narrow_panel ? n_out_ : k_block + narrow_panel;
        return goes_by_blocks() && !place_.dx_over_x ? matrix_size<T>(block, panel<T>) : matrix_size<T>(n_out_, n_in_);
    }
    void memory_is_there(const Memory<T>& memory) override {
        Weighted<T>::memory_is_there(memory);
        if (!transposed_.data) transposed_ = Matrix<T>(memory.shared_scratch, n_out_, n_in_);
        row_x_ = x().rows(0, 1), row_y_ = y().rows(0, 1), row_dy_ = y().gradient_rows(0, 1);
        row_dx_ = adds_dx() ? aside(0, 1) : x().gradient_rows(0, 1);
        row_mask_ = x().mask(true, 0).at;
        row_gradient_ = gradient({});
        clears_row_ = place_.dx_over_x && !weight_is_transposed(n_in_, n_out_);
    }

    void infer(const Matrix<T>* x, const Matrix<T>& y) const override {
        apply(x[0], y);
        linear::clear_unwritten_padding<T>(y);  // where something else may have lain before
    }

    void forward(const Pass&, int64_t begin, int64_t end) override {
        // A row is one alone if the batch has no other: its sums run in another order, which threads must not bring about.
        if (begin == 0 && end == 1 && positions_ == 1) forward_row();
        else linear_forward<T>(x().rows(begin, end), weight_, bias(), y().rows(begin, end), finish());
    }

    void backward(const Pass& pass, int64_t samples) override {
        if (masks_own_relu()) return backward_masked(pass, samples);
        if (samples == 1 && positions_ == 1) backward_row(pass);
        else backward_all(pass, samples);
    }

    void prepare(Share share) override {
        if (!this->coming().input_only) transpose_inputs(share.begin(n_in_, panel<T>), share.end(n_in_, panel<T>));
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        if (masks_own_relu()) mask_own_relu(pass, begin, end);
        if (wants_dx(pass)) dx_of(pass, y().gradient_rows(begin, end), x().gradient_rows(begin, end), begin, end);
    }
    void backward_parameters(const Pass& pass, int64_t samples, Share share, bool prepare_next) override {
        const int64_t begin = share.begin(n_in_, panel<T>), end = share.end(n_in_, panel<T>);
        if (begin == end) return;
        if (!trains_weight_) {
            if (share.index == 0) bias_alone(pass, samples);
            return;
        }
        linear_gradient<T>(x().rows(0, samples), y().gradient_rows(0, samples), gradient(pass), begin, end);
        if (prepare_next && !this->coming().input_only) transpose_inputs(begin, end);
    }

    // A wide output is divided by columns, whole panels of them.
    void forward_part(const Pass& pass, int64_t samples, Share share) override {
        if (!weight_is_transposed(n_in_, n_out_) || n_out_ < 2 * panel<T>) return Layer<T>::forward_part(pass, samples, share);
        const int64_t begin = share.begin(n_out_, panel<T>), end = share.end(n_out_, panel<T>);
        if (begin == end) return;
        Matrix<T> weight = weight_, y_part = y().rows(0, samples);
        weight.data += weight.column_offset(begin);
        y_part.data += y_part.column_offset(begin);
        weight.columns = y_part.columns = round_up(end - begin, panel<T>);  // of the last panel, the padding too
        linear::multiply<T>(x().rows(0, samples), weight, y_part, bias() + begin, finish());
    }
    int backward_phases() const override { return masks_own_relu() ? 2 : 1; }
    void backward_part(const Pass& pass, int64_t samples, int phase, Share share) override {
        if (phase + 1 < backward_phases()) {
            by_rows(samples, share, [&](int64_t begin, int64_t end) { mask_own_relu(pass, begin, end); });
        } else if (goes_by_blocks()) {
            const int64_t begin = share.begin(n_in_, panel<T>), end = share.end(n_in_, panel<T>);
            if (!trains_weight_ && share.index == 0) bias_alone(pass, samples);
            if (begin < end) backward_blocks(pass, samples, begin, end);
        } else if (share.index == 0) {
            backward_all(pass, samples);
        }
    }

private:
    Finish finish() const { return place_.carries_relu ? Finish::relu : Finish::plain; }

    FORCE_INLINE void apply(const Matrix<T>& x, const Matrix<T>& y) const {
        if (x.rows == 1) linear_row_forward<T>(x, weight_, bias(), y, finish());
        else linear_forward<T>(x, weight_, bias(), y, finish());
    }

    bool masks_own_relu() const { return place_.carries_relu && !y().reader_masks; }
    NO_INLINE void mask_own_relu(const Pass& pass, int64_t begin, int64_t end) const {
        const Matrix<T> dy = y().gradient_rows(begin, end);
        mask_by_relu<T>(dy, y().rows(begin, end), y().scale_in(pass.training));
    }

    // Wᵀ's columns begin … end - 1 (inputs), as linear_dx wants them.
    void transpose_inputs(int64_t begin, int64_t end) {
        if (begin >= end || !dx_needs_transpose(n_in_, n_out_)) return;
        Matrix<T> to = transposed_;
        if (!to.is_narrow()) {
            to.data += to.column_offset(begin);
            to.columns = round_up(end - begin, panel<T>);
        }
        transpose<T>(weight_.slice(begin, end), to, 0, n_out_);
    }

    // Does backward go over the weight in blocks? Narrow ones have kernels of their own.
    bool goes_by_blocks() const { return n_in_ > narrow_panel && n_out_ > narrow_panel; }
    void backward_blocks(const Pass& pass, int64_t samples, int64_t begin, int64_t end) {
        T* packed = transposed_.data + transposed_.column_offset(begin);  // another place for every thread
        linear_backward_blocks<T>(x().rows(0, samples), y().gradient_rows(0, samples), weight_, packed, start(),
                                  wants_dx(pass) ? x().gradient_rows(0, samples) : Matrix<T>{}, x().mask(pass.training, 0), gradient(pass), begin, end);
    }

    // Products that go on from what dx holds are those of tiles; the others make dx aside, and it is added.
    bool adds_in_place() const { return !adds_dx() || dx_needs_transpose(n_in_, n_out_); }
    const T* start() const { return adds_dx() ? nullptr : zeros_; }
    int64_t aside_size(int64_t batch) const {
        const bool waits = place_.dx_over_x && !dx_needs_transpose(n_in_, n_out_) && weight_is_transposed(n_in_, n_out_);
        const int64_t rows = waits || !adds_in_place() ? checked_product(batch, positions_) : adds_dx() ? 1 : 0;
        return matrix_size<T>(rows, n_in_);
    }
    Matrix<T> aside(int64_t begin, int64_t end) const {
        Value<T> value = x();
        value.data = aside_;
        if (adds_dx() && adds_in_place()) value.capacity = 1;  // for a row alone
        return value.rows(begin, end);
    }

    // A sample alone; apart, as what these keep in registers would have to be saved for the others too.
    NO_INLINE void forward_row() const { linear_row_forward<T>(row_x_, weight_, bias(), row_y_, finish()); }
    NO_INLINE void backward_row(const Pass& pass) {
        row_gradient_.add = pass.add || adds_;
        row_gradient_.update = pass.update && fuses_update_;
        if (row_gradient_.update) row_gradient_.lr = T(pass.lr[rule_]);
        linear_row_backward<T>(row_x_, row_dy_, weight_, wants_dx(pass) ? row_dx_ : no_dx_, {row_mask_, x().scale_in(pass.training)}, row_gradient_);
        if (clears_row_ && wants_dx(pass)) linear::clear_unwritten_padding<T>(row_dx_);
        if (adds_dx() && wants_dx(pass)) add_rows_of<T>(row_dx_, x().gradient_rows(0, 1));
    }

    // Of rows from sample `begin` on.
    void dx_of(const Pass& pass, const Matrix<T>& dy, const Matrix<T>& dx, int64_t begin, int64_t end) {
        if (adds_in_place()) return linear_dx<T>(dy, weight_, transposed_, start(), dx, x().mask(pass.training, begin));
        const Matrix<T> part = aside(begin, end);
        linear_dx<T>(dy, weight_, transposed_, zeros_, part, {});
        add_rows_of<T>(part, dx);
    }

    // db where the weight is frozen: a chain of additions for each output, row after row.
    void bias_alone(const Pass& pass, int64_t samples) {
        if (!trains_bias_) return;
        const LinearGradient<T> to = gradient(pass);
        const Matrix<T> dy = y().gradient_rows(0, samples);
        const int width = dy.width();
        for (int64_t p = 0; p < dy.panels(); ++p)
            for (int c = 0; c < width; c += lanes<T>) {
                const int n = width - c < lanes<T> ? width - c : lanes<T>;
                T* const at = to.bias + p * width + c;
                Vec<T> sum = to.add ? load_partial(at, n) : Vec<T>{};
                for (int64_t r = 0; r < dy.rows; ++r) sum += load_partial(dy.row(p, r) + c, n);
                T* const value = to.bias_value + p * width + c;
                if (to.update) store_partial(value, fma(broadcast<T>(-to.lr), sum, load_partial(value, n)), n);
                else store_partial(at, sum, n);
            }
    }

    // dx where the weight is frozen. It reads nothing of x but, where x is what a ReLU made, its sign.
    void backward_frozen(const Pass& pass, int64_t samples) {
        bias_alone(pass, samples);
        if (!wants_dx(pass)) return;
        if (goes_by_blocks() && !place_.dx_over_x) return backward_blocks(pass, samples, 0, n_in_);
        if (dx_needs_transpose(n_in_, n_out_)) transpose<T>(weight_, transposed_, 0, n_out_);
        const Matrix<T> dx = x().gradient_rows(0, samples);
        dx_of(pass, y().gradient_rows(0, samples), dx, 0, samples);
        // As in backward_all.
        if (place_.dx_over_x && !weight_is_transposed(n_in_, n_out_)) linear::clear_unwritten_padding<T>(dx);
    }

    NO_INLINE void backward_masked(const Pass& pass, int64_t samples) {
        mask_own_relu(pass, 0, samples);
        if (samples == 1 && positions_ == 1) backward_row(pass);
        else backward_all(pass, samples);
    }

    // dx and the gradients, by one thread.
    void backward_all(const Pass& pass, int64_t samples) {
        if (!trains_weight_) return backward_frozen(pass, samples);
        const LinearGradient<T> to = gradient(pass);
        const Matrix<T> from = x().rows(0, samples), dy = y().gradient_rows(0, samples);
        if (!wants_dx(pass)) return linear_gradient<T>(from, dy, to, 0, n_in_);
        const Matrix<T> dx = x().gradient_rows(0, samples);
        if (!weight_is_transposed(n_in_, n_out_) && !adds_dx()) {
            if (to.bias) linear::narrow_bias_gradient<T>(dy, to);
            linear_backward_narrow<T>(from, dy, weight_, dx, x().mask(pass.training, 0), to);
            // A dy of NaN makes NaN of dx's padding; over x, whoever writes x next leaves it there.
            if (place_.dx_over_x) linear::clear_unwritten_padding<T>(dx);
        } else if (place_.dx_over_x && dx_needs_transpose(n_in_, n_out_)) {
            transpose<T>(weight_, transposed_, 0, n_out_);
            linear_gradient<T>(from, dy, to, 0, n_in_);
            dx_of(pass, dy, dx, 0, samples);
        } else if (place_.dx_over_x) {
            // dx reads the weights themselves, and both the weights and x will be overwritten: x waits.
            const Matrix<T> kept = aside(0, samples);
            copy_rows<T>(from, kept);
            dx_of(pass, dy, dx, 0, samples);
            linear_gradient<T>(kept, dy, to, 0, n_in_);
        } else if (goes_by_blocks()) {
            backward_blocks(pass, samples, 0, n_in_);
        } else {
            if (dx_needs_transpose(n_in_, n_out_)) transpose<T>(weight_, transposed_, 0, n_out_);
            dx_of(pass, dy, dx, 0, samples);
            linear_gradient<T>(from, dy, to, 0, n_in_);
        }
    }

    int64_t n_in_, n_out_, positions_;
    bool clears_row_ = false;
    Matrix<T> transposed_;
    const T* row_mask_ = nullptr;
    T* aside_ = nullptr;
    // A batch of one row takes so little time that making these views anew would be a tenth of it.
    Matrix<T> row_x_, row_y_, row_dx_, row_dy_, no_dx_;
    LinearGradient<T> row_gradient_;
};

template <class T>
std::unique_ptr<Layer<T>> make_linear(const Making& making) {
    if (making.settings.kind != "Linear") return nullptr;
    return std::make_unique<Linear<T>>(making);
}

template std::unique_ptr<Layer<NUMBER>> make_linear<NUMBER>(const Making&);

}  // namespace chainrule
