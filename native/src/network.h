// A plan laid out in memory, and the passes over it: forward, backward, update.
//
// Each op becomes a Stage between two Buffers (a matrix of activations with the gradient that will come back to it).
// What decides the speed is decided here, once: a ReLU after a Linear is fused into it, a gradient takes the place of
// the activations that it belongs to where nobody needs these any more, and plain SGD is fused into the product dW.
#pragma once

#include <memory>
#include <vector>

#include "arena.h"
#include "layers/dropout.h"
#include "layers/linear.h"
#include "layers/linear_row.h"
#include "plan.h"
#include "random.h"

namespace chainrule {

// What one thread does: rows and inputs are split, nothing is ever summed across threads.
struct Share {
    int index = 0, count = 1;

    // Bounds of this thread's part of n, in multiples of `unit`.
    int64_t begin(int64_t n, int64_t unit) const { return bound(n, unit, index); }
    int64_t end(int64_t n, int64_t unit) const { return bound(n, unit, index + 1); }

private:
    int64_t bound(int64_t n, int64_t unit, int part) const {
        int64_t units = (n + unit - 1) / unit, at = units * part / count * unit;
        return at < n ? at : n;
    }
};

// f(begin, end) for chunks of rows from `begin` on, the last one up to twice as large as the others.
template <class F>
void each_chunk(int64_t begin, int64_t end, int64_t rows, F f) {
    for (int64_t stop; begin < end; begin = stop) {
        stop = end - begin < 2 * rows ? end : begin + rows;
        f(begin, stop);
    }
}

// Threads split the rows of a batch at multiples of this; partial sums of the loss are over this many rows.
inline constexpr int64_t row_block = 16;

template <class T>
struct Buffer {
    int64_t columns = 0;
    T* value = nullptr;
    T* gradient = nullptr;        // == value: in place
    bool masked_by_reader = false;  // the value is a ReLU's output, and the Linear that reads it applies the mask
};

template <class T>
struct Stage {
    OpKind kind = OpKind::linear;
    int in = 0, out = 0;
    Activation activation{};
    double p = 0;
    uint32_t dropout_layer = 0;
    // linear
    int64_t n_in = 0, n_out = 0;
    int weight_index = -1, bias_index = -1;
    bool relu = false;  // its output is that of a ReLU: of a Linear's own, or of a Dropout behind one
    bool weight_shared = false, bias_shared = false;  // a later op in the list used it: its gradient is there already
    bool update_fused = false;
    Matrix<T> weight;
    const T* bias = nullptr;
    T* weight_gradient = nullptr;
    T* bias_gradient = nullptr;
    bool in_place = false;  // dx takes the place of x
    Matrix<T> transposed;   // W for dx = dy W, where that is a tile product
    // A batch of one row takes so little time that making these views anew would be a tenth of it.
    Matrix<T> row_x, row_y, row_dx, row_dy;
    const T* row_mask = nullptr;
};

struct Backward {
    bool add = false;     // add to the gradients; otherwise overwrite
    bool update = false;  // stages that may do so update their weights in the same pass
    double lr = 0;
    bool input = false;   // the gradient of the network's input is wanted too
};

template <class T>
class Network {
public:
    static constexpr int64_t evaluation_rows = 512 / int64_t(sizeof(T));  // a chunk of rows in evaluation, fewer of doubles
    static constexpr int64_t big_weight = int64_t(1) << 20;  // bytes: more than a core's cache keeps from pass to pass

    explicit Network(const Plan& plan) : plan_(plan), op_columns_(output_columns(plan)) {
        choose();
        lay_out();
        arena_.allocate(plan_.limit_bytes);
        lay_out();
        for (int k = 0; k < states_; ++k) {
            const T initial = T(optimizer_->initial_state(k));
            if (initial != 0)
                for (size_t i = 0; i < plan_.parameters.size(); ++i)
                    each_number(i, [&](int64_t at) { state_[size_t(k)][at] = initial; });
        }
    }

    const Plan& plan() const { return plan_; }
    int64_t bytes() const { return arena_.bytes(); }
    int64_t n_in() const { return plan_.n_in; }
    int64_t n_out() const { return op_columns_.empty() ? plan_.n_in : op_columns_.back(); }
    int states() const { return states_; }

    // ---- parameters ----

    // Calls f(place in the flat arrays) for every number of parameter i in Python's order.
    template <class F>
    void each_number(size_t i, F f) const {
        const ParameterShape& shape = plan_.parameters[i];
        const int64_t offset = offset_[i];
        if (shape.n_in == 0) {
            for (int64_t o = 0; o < shape.n_out; ++o) f(offset + o);
            return;
        }
        const bool transposed = weight_is_transposed(shape.n_in, shape.n_out);
        const Matrix<T> m = weight_matrix<T>(nullptr, shape.n_in, shape.n_out);
        const int width = m.width();
        for (int64_t o = 0; o < shape.n_out; ++o)
            for (int64_t j = 0; j < shape.n_in; ++j) {
                const int64_t r = transposed ? j : o, c = transposed ? o : j;
                f(offset + (c / width) * m.pitch + r * width + c % width);
            }
    }

    void read(const T* flat, size_t i, T* to) const {
        each_number(i, [&](int64_t at) { *to++ = flat[at]; });
    }
    void write(T* flat, size_t i, const T* from) {
        transposed_ = false;
        std::memset(flat + offset_[i], 0, size_t(size_[i]) * sizeof(T));  // a scale or a rate of NaN ruins the padding too
        each_number(i, [&](int64_t at) { flat[at] = *from++; });
    }

    T* values() const { return values_; }
    T* gradients() const { return gradients_; }
    T* state(int k) const { return state_[size_t(k)]; }
    T* best() const { return best_; }
    int64_t flat_size() const { return flat_size_; }
    const std::vector<int64_t>& steps_taken() const { return steps_taken_; }
    void set_steps_taken(size_t i, int64_t steps) {
        steps_taken_[i] = steps;
        find_uniform();
    }

    // ---- views ----

    Matrix<T> view(T* data, int64_t columns, int64_t begin, int64_t end) const {
        Matrix<T> m;
        m.data = data + begin * panel_width<T>(columns);
        m.rows = end - begin;
        m.columns = columns;
        m.pitch = plan_.batch * panel_width<T>(columns);
        return m;
    }
    Matrix<T> input(int64_t begin, int64_t end) const { return value(0, begin, end); }
    Matrix<T> input_gradient(int64_t begin, int64_t end) const { return gradient(0, begin, end); }
    Matrix<T> output(int64_t begin, int64_t end) const { return value(last_, begin, end); }
    Matrix<T> output_gradient(int64_t begin, int64_t end) const { return gradient(last_, begin, end); }
    Matrix<T> targets(int64_t begin, int64_t end) const { return view(targets_, n_out(), begin, end); }
    int64_t* indices() const { return indices_; }
    T* sample_weights() const { return sample_weights_; }
    double* partial() const { return partial_; }
    int64_t* order() const { return order_; }
    void* order_scratch() const { return order_scratch_; }

    // ---- passes ----

    // A batch passes through the network in chunks of so many rows, so that what a layer has written is still in cache
    // when the next one reads it. Gradients add up block of k after block in any case: the same bits.
    int64_t chunk_rows() const { return big_ ? 2 * k_block : k_block; }

    // Rows begin … end - 1 of the batch, from input() to output().
    void forward(int64_t begin, int64_t end) {
        const bool single = begin == 0 && end == 1;
        for (Stage<T>& s : stages_) {
            if (single && s.kind == OpKind::linear) {
                linear_row_forward<T>(s.row_x, s.weight, s.bias, s.row_y, s.relu ? Finish::relu : Finish::plain);
                continue;
            }
            forward_stage(s, begin, end);
        }
    }

    // Evaluation of x's rows (at most evaluation_rows) in memory of its own, so that a pending backward stays possible.
    // Returns where the output lies.
    Matrix<T> evaluate(int64_t rows) {
        int at = 0;
        auto matrix = [&](int which, int64_t columns) {
            Matrix<T> m = Matrix<T>(evaluation_[which], evaluation_rows, columns);
            m.rows = rows;
            return m;
        };
        for (Stage<T>& s : stages_) {
            const Matrix<T> x = matrix(at, buffers_[size_t(s.in)].columns);
            if (s.kind == OpKind::linear) {
                at = 1 - at;
                forward_linear(s, x, matrix(at, s.n_out));
            } else if (s.kind == OpKind::activation) {
                activation_forward<T>(s.activation, x, x);
            }
        }
        return matrix(at, n_out());
    }
    Matrix<T> evaluation_input(int64_t rows) {
        Matrix<T> m(evaluation_[0], evaluation_rows, n_in());
        m.rows = rows;
        return m;
    }
    Matrix<T> evaluation_targets(int64_t rows) {
        Matrix<T> m(evaluation_targets_, evaluation_rows, n_out());
        m.rows = rows;
        return m;
    }

    // From output_gradient() back to the gradients of the parameters (and the input), by one thread.
    void backward(int64_t rows, const Backward& how) {
        for (size_t i = stages_.size(); i-- > 0;) {
            Stage<T>& s = stages_[i];
            if (s.kind != OpKind::linear) {
                backward_elementwise(s, 0, rows);
                continue;
            }
            mask_own_relu(s, 0, rows);
            const LinearGradient<T> to = gradient_of(s, how);
            if (rows == 1) {
                linear_row_backward<T>(s.row_x, s.row_dy, s.weight, s.in != 0 || how.input ? s.row_dx : Matrix<T>{}, s.row_mask, to);
                continue;
            }
            backward_linear(s, rows, how);
        }
    }

    // The same for several threads, in one of two ways.
    //
    // By rows, in two halves. Before the first: the Wᵀ of all layers; between them: a barrier. Where
    // plain SGD updates W as its gradient is made, the thread that made a slice of W transposes it for the next step.
    bool weights_are_transposed() const { return transposed_; }
    void weights_changed() { transposed_ = false; }
    void transpose_weights(Share share) {
        for (Stage<T>& s : stages_)
            if (s.kind == OpKind::linear && s.in != 0) transpose_slice(s, share.begin(s.n_in, panel<T>), share.end(s.n_in, panel<T>));
    }
    void backward_rows(int64_t begin, int64_t end) {
        for (size_t i = stages_.size(); i-- > 0;) {
            Stage<T>& s = stages_[i];
            if (s.kind != OpKind::linear) {
                backward_elementwise(s, begin, end);
                continue;
            }
            mask_own_relu(s, begin, end);
            if (s.in == 0) continue;
            linear_dx<T>(gradient(s.out, begin, end), s.weight, s.transposed, zeros_, gradient(s.in, begin, end),
                         mask_of(s, begin));
        }
    }
    void backward_parameters(int64_t rows, const Backward& how, Share share) {
        for (size_t i = stages_.size(); i-- > 0;) {
            Stage<T>& s = stages_[i];
            if (s.kind != OpKind::linear) continue;
            const int64_t begin = share.begin(s.n_in, panel<T>), end = share.end(s.n_in, panel<T>);
            if (begin == end) continue;
            linear_gradient<T>(value(s.in, 0, rows), gradient(s.out, 0, rows), gradient_of(s, how), begin, end);
            if (all_fused_ && s.in != 0) transpose_slice(s, begin, end);
        }
    }
    void parameters_stepped() { transposed_ = all_fused_; }

    // Or layer by layer, where rows are too few to be split or a weight fills a core's cache: each thread takes its part
    // of the weight, and all rows. phase(f) runs f for every share.
    bool goes_by_layers(int64_t rows) const { return (big_ && rows < 2 * chunk_rows()) || rows < 2 * row_block; }
    template <class Phase>
    void forward_by_layers(int64_t rows, const Phase& phase) {
        for (const Stage<T>& s : stages_)
            phase([&](Share share) {
                if (s.kind == OpKind::linear && weight_is_transposed(s.n_in, s.n_out) && s.n_out >= 2 * panel<T>) {
                    const int64_t begin = share.begin(s.n_out, panel<T>), end = share.end(s.n_out, panel<T>);
                    if (begin < end) forward_outputs(s, rows, begin, end);
                } else {
                    const int64_t begin = share.begin(rows, row_block), end = share.end(rows, row_block);
                    if (begin < end) forward_stage(s, begin, end);
                }
            });
    }
    template <class Phase>
    void backward_by_layers(int64_t rows, const Backward& how, const Phase& phase) {
        for (size_t i = stages_.size(); i-- > 0;) {
            const Stage<T>& s = stages_[i];
            const bool linear = s.kind == OpKind::linear;
            if (!linear || (s.relu && !buffers_[size_t(s.out)].masked_by_reader))
                phase([&](Share share) {
                    const int64_t begin = share.begin(rows, row_block), end = share.end(rows, row_block);
                    if (begin < end && linear) mask_own_relu(s, begin, end);
                    else if (begin < end) backward_elementwise(s, begin, end);
                });
            if (linear && goes_by_blocks(s))
                phase([&](Share share) {
                    const int64_t begin = share.begin(s.n_in, panel<T>), end = share.end(s.n_in, panel<T>);
                    if (begin < end) backward_blocks(s, rows, how, begin, end);
                });
            else if (linear) backward_linear(s, rows, how);
        }
    }

    // Which parameters are updated in the same pass as their gradient is made.
    bool all_updates_fused() const { return all_fused_; }
    bool any_update_fused() const { return any_fused_; }

    // The optimizer's step on what backward left, for this thread's share of the numbers. scale: from clipping.
    void update(double lr, double scale, bool skip_fused, Share share) {
        if (uniform_ && !(skip_fused && any_fused_)) {
            const int64_t begin = share.begin(flat_size_, 64), end = share.end(flat_size_, 64);
            if (begin < end) update_range(*optimizer_, begin, end, lr, scale, steps_taken_.empty() ? 0 : steps_taken_[0]);
            return;
        }
        for (size_t i = 0; i < plan_.parameters.size(); ++i) {
            if (!plan_.parameters[i].trainable || !used_[i] || (skip_fused && fused_[i])) continue;
            const int64_t begin = share.begin(size_[i], 64), end = share.end(size_[i], 64);
            const Optimizer<T>& rule = plan_.parameters[i].n_in == 0 ? *bias_optimizer_ : *optimizer_;
            if (begin < end) update_range(rule, offset_[i] + begin, offset_[i] + end, lr, scale, steps_taken_[i]);
        }
    }
    void count_step() {
        for (size_t i = 0; i < steps_taken_.size(); ++i)
            if (plan_.parameters[i].trainable && used_[i]) ++steps_taken_[i];
    }

    void clear_padding_if_needed() {
        if (padding_divides_by_zero_) clear_padding();
    }

    // The factor by which clip_norm scales all gradients, after clip_value has cut them.
    double clipping_scale() const {
        if (!(clip_norm_ > 0)) return 1;
        double squares = 0;
        for (size_t i = 0; i < plan_.parameters.size(); ++i) {
            if (!plan_.parameters[i].trainable || !used_[i]) continue;
            const ParameterShape& shape = plan_.parameters[i];
            squares += sum_of_squares(shape.n_in == 0 ? Matrix<T>(gradients_ + offset_[i], 1, shape.n_out)
                                                      : weight_matrix<T>(gradients_ + offset_[i], shape.n_in, shape.n_out),
                                      clip_value_);
        }
        return clip_scale(clip_norm_, squares);
    }

    // Does a step on that many rows last long enough to share it? About 10 µs of one core's work. (One row alone goes
    // through layers/linear_row.h.)
    bool worth_threads(int64_t rows) const {
        if (plan_.threads == 1 || rows == 1) return false;
        double operations = 0;
        for (const Stage<T>& s : stages_)
            if (s.kind == OpKind::linear) operations += 6.0 * double(rows) * double(s.n_in) * double(s.n_out);
        return operations > 1.5e6;
    }

    // Neither infinite nor NaN, every one of them.
    bool parameters_are_finite() const {
        Lanes16<T> sums[4];  // of v - v, which is 0, or NaN once and for all
        for (Lanes16<T>& sum : sums) sum = Lanes16<T>::zeros();
        for (int64_t i = 0; i < flat_size_; i += 4 * virtual_lanes)  // parameters are padded to 64 numbers
            for (int q = 0; q < 4; ++q) {
                Lanes16<T> v = Lanes16<T>::load(values_ + i + q * virtual_lanes);
                for (int j = 0; j < Lanes16<T>::vectors; ++j) sums[q].v[j] += v.v[j] - v.v[j];
            }
        for (int q = 1; q < 4; ++q) sums[0].add(sums[q]);
        return sums[0].sum() == 0;
    }

    void keep_best() { std::memcpy(best_, values_, size_t(flat_size_) * sizeof(T)); }

    // Of the pass that is running, forward and backward: its masks, and whether it has any.
    int64_t dropout_pass = 0;
    int64_t first_row = 0;  // of the batch: what the memory's row 0 holds
    bool dropout_active = true;

private:
    void forward_stage(const Stage<T>& s, int64_t begin, int64_t end) {
        const Matrix<T> x = value(s.in, begin, end), y = value(s.out, begin, end);
        switch (s.kind) {
            case OpKind::linear: forward_linear(s, x, y); break;
            case OpKind::activation: activation_forward<T>(s.activation, x, y); break;
            case OpKind::dropout:
                if (dropout_active) dropout<T>(plan_.seed, s.dropout_layer, uint64_t(dropout_pass), s.p, x, y, first_row + begin);
                else if (s.in != s.out) copy(x, y);
                break;
        }
    }
    // Columns begin … end - 1 of a Linear's y, whole panels of them.
    void forward_outputs(const Stage<T>& s, int64_t rows, int64_t begin, int64_t end) const {
        Matrix<T> weight = s.weight, y = value(s.out, 0, rows);
        weight.data += weight.column_offset(begin);
        y.data += y.column_offset(begin);
        weight.columns = y.columns = round_up(end - begin, panel<T>);  // of the last panel, the padding too
        linear::multiply<T>(value(s.in, 0, rows), weight, y, s.bias + begin, s.relu ? Finish::relu : Finish::plain);
    }
    FORCE_INLINE static void forward_linear(const Stage<T>& s, const Matrix<T>& x, const Matrix<T>& y) {
        const Finish finish = s.relu ? Finish::relu : Finish::plain;
        if (x.rows == 1) linear_row_forward<T>(x, s.weight, s.bias, y, finish);
        else linear_forward<T>(x, s.weight, s.bias, y, finish);
    }

    Matrix<T> value(int b, int64_t begin, int64_t end) const {
        const Buffer<T>& buffer = buffers_[size_t(b)];
        return view(buffer.value, buffer.columns, begin, end);
    }
    Matrix<T> gradient(int b, int64_t begin, int64_t end) const {
        const Buffer<T>& buffer = buffers_[size_t(b)];
        return view(buffer.gradient, buffer.columns, begin, end);
    }
    static void copy(const Matrix<T>& x, const Matrix<T>& y) {
        for (int64_t p = 0; p < x.panels(); ++p)
            std::memcpy(y.row(p, 0), x.row(p, 0), size_t(x.rows * x.width()) * sizeof(T));
    }

    const T* mask_of(const Stage<T>& s, int64_t begin) const {
        const Buffer<T>& buffer = buffers_[size_t(s.in)];
        return buffer.masked_by_reader ? buffer.value + begin * panel_width<T>(buffer.columns) : nullptr;
    }
    void mask_own_relu(const Stage<T>& s, int64_t begin, int64_t end) {
        if (!s.relu || buffers_[size_t(s.out)].masked_by_reader) return;
        const Matrix<T> dy = gradient(s.out, begin, end);
        activation_backward<T>(relu_, dy, value(s.out, begin, end), dy);
    }
    void backward_elementwise(const Stage<T>& s, int64_t begin, int64_t end) {
        const Matrix<T> dy = gradient(s.out, begin, end), dx = gradient(s.in, begin, end);
        if (s.kind == OpKind::activation) activation_backward<T>(s.activation, dy, value(saves_output(s.activation) ? s.out : s.in, begin, end), dx);
        else if (s.in == s.out) {
            if (dropout_active) dropout_scale<T>(s.p, dx);
        }
        else if (dropout_active) dropout<T>(plan_.seed, s.dropout_layer, uint64_t(dropout_pass), s.p, dy, dx, first_row + begin);
        else copy(dy, dx);
    }

    LinearGradient<T> gradient_of(const Stage<T>& s, const Backward& how) const {
        LinearGradient<T> to;
        to.weight = s.weight_gradient;
        to.bias = s.bias_gradient;
        to.add = how.add || s.weight_shared || s.bias_shared;
        to.update = how.update && s.update_fused;
        to.lr = T(how.lr);
        to.weight_value = const_cast<T*>(s.weight.data);
        to.bias_value = const_cast<T*>(s.bias);
        return to;
    }

    // Wᵀ's columns begin … end - 1 (inputs), as linear_dx wants them.
    static void transpose_slice(const Stage<T>& s, int64_t begin, int64_t end) {
        if (begin >= end || !dx_needs_transpose(s.n_in, s.n_out)) return;
        Matrix<T> to = s.transposed;
        if (!to.is_narrow()) {
            to.data += to.column_offset(begin);
            to.columns = round_up(end - begin, panel<T>);
        }
        transpose<T>(s.weight.slice(begin, end), to, 0, s.n_out);
    }

    // Does backward go over the weight in blocks? Narrow ones have kernels of their own.
    static bool goes_by_blocks(const Stage<T>& s) { return s.n_in > narrow_panel && s.n_out > narrow_panel; }
    void backward_blocks(const Stage<T>& s, int64_t rows, const Backward& how, int64_t begin, int64_t end) const {
        const bool wanted = s.in != 0 || how.input;
        T* packed = s.transposed.data + s.transposed.column_offset(begin);  // another place for every thread
        linear_backward_blocks<T>(value(s.in, 0, rows), gradient(s.out, 0, rows), s.weight, packed, zeros_,
                                  wanted ? gradient(s.in, 0, rows) : Matrix<T>{}, mask_of(s, 0), gradient_of(s, how),
                                  begin, end);
    }

    // dx and the gradients of one Linear, by one thread.
    void backward_linear(const Stage<T>& s, int64_t rows, const Backward& how) {
        const LinearGradient<T> to = gradient_of(s, how);
        const Matrix<T> x = value(s.in, 0, rows), dy = gradient(s.out, 0, rows);
        if (s.in == 0 && !how.input) {
            linear_gradient<T>(x, dy, to, 0, s.n_in);
            return;
        }
        const Matrix<T> dx = gradient(s.in, 0, rows);
        const T* mask = mask_of(s, 0);
        if (!weight_is_transposed(s.n_in, s.n_out)) {
            linear_backward_narrow<T>(x, dy, s.weight, dx, mask, to);
        } else if (s.in_place && dx_needs_transpose(s.n_in, s.n_out)) {
            transpose<T>(s.weight, s.transposed, 0, s.n_out);
            linear_gradient<T>(x, dy, to, 0, s.n_in);
            linear_dx<T>(dy, s.weight, s.transposed, zeros_, dx, mask);
        } else if (s.in_place) {
            // dx reads the weights themselves, and both the weights and x will be overwritten: x waits.
            const Matrix<T> kept = view(scratch_, s.n_in, 0, rows);
            copy(x, kept);
            linear_dx<T>(dy, s.weight, s.transposed, zeros_, dx, mask);
            linear_gradient<T>(kept, dy, to, 0, s.n_in);
        } else if (goes_by_blocks(s)) {
            backward_blocks(s, rows, how, 0, s.n_in);
        } else {
            if (dx_needs_transpose(s.n_in, s.n_out)) transpose<T>(s.weight, s.transposed, 0, s.n_out);
            linear_dx<T>(dy, s.weight, s.transposed, zeros_, dx, mask);
            linear_gradient<T>(x, dy, to, 0, s.n_in);
        }
    }

    // Adaptive rules divide by √0 + eps: with eps = 0 the padding would become NaN, and dot products run over padding.
    void clear_padding() {
        for (size_t i = 0; i < plan_.parameters.size(); ++i) {
            std::memcpy(scratch_parameter_, values_ + offset_[i], size_t(size_[i]) * sizeof(T));
            std::memset(values_ + offset_[i], 0, size_t(size_[i]) * sizeof(T));
            each_number(i, [&](int64_t at) { values_[at] = scratch_parameter_[at - offset_[i]]; });
        }
    }

    void update_range(const Optimizer<T>& rule, int64_t begin, int64_t end, double lr, double scale, int64_t step) {
        T* states[8] = {};
        for (int k = 0; k < states_; ++k) states[k] = state_[size_t(k)] + begin;
        rule.update({lr, step, scale}, values_ + begin, gradients_ + begin, states, end - begin);
    }

    static int64_t weight_bytes(const Stage<T>& s) { return checked_product(s.n_in, s.n_out) * int64_t(sizeof(T)); }

    // What each op becomes, before any memory is counted.
    void choose() {
        relu_.kind = ActivationKind::ReLU;
        if (plan_.has_optimizer) make_optimizers();
        used_.assign(plan_.parameters.size(), false);
        fused_.assign(plan_.parameters.size(), false);
        std::vector<int> uses(plan_.parameters.size(), 0);
        buffers_.push_back({plan_.n_in});
        for (size_t i = 0; i < plan_.ops.size(); ++i) {
            const Op& op = plan_.ops[i];
            Stage<T> s;
            s.kind = op.kind;
            s.in = s.out = int(buffers_.size()) - 1;
            if (op.kind == OpKind::activation) {
                s.activation = op.activation;
                // A network's input is kept as it came; ReLU after Linear is part of that Linear.
                if (s.in != 0 && op.activation.kind == ActivationKind::ReLU && !stages_.empty() &&
                    stages_.back().kind == OpKind::linear && stages_.back().out == s.in && !stages_.back().relu) {
                    stages_.back().relu = true;
                    continue;
                }
                const bool output_of_activation = !stages_.empty() && stages_.back().kind == OpKind::activation;
                const bool relu_output = !stages_.empty() && stages_.back().relu;
                const bool fresh = s.in == 0 || !saves_output(op.activation) || output_of_activation || relu_output;
                if (fresh) buffers_.push_back({op_columns_[i]});
            } else if (op.kind == OpKind::dropout) {
                s.p = op.p;
                s.dropout_layer = op.dropout_layer;
                // Behind a ReLU it works in place: what it drops is 0, and so is masked with what the ReLU cut off.
                s.relu = !stages_.empty() && stages_.back().relu;
                if (!s.relu) buffers_.push_back({op_columns_[i]});
            } else {
                s.weight_index = op.weight;
                s.bias_index = op.bias;
                s.n_in = plan_.parameters[size_t(op.weight)].n_in;
                s.n_out = plan_.parameters[size_t(op.weight)].n_out;
                ++uses[size_t(op.weight)];
                if (op.bias >= 0) ++uses[size_t(op.bias)];
                buffers_.push_back({s.n_out});
                big_ = big_ || weight_bytes(s) > big_weight;
            }
            s.out = int(buffers_.size()) - 1;
            stages_.push_back(s);
        }
        last_ = int(buffers_.size()) - 1;

        const bool plain = optimizer_ && optimizer_->is_plain();
        std::vector<bool> seen(plan_.parameters.size(), false);
        all_fused_ = true;
        for (size_t i = stages_.size(); i-- > 0;) {  // backward's order
            Stage<T>& s = stages_[i];
            if (s.kind != OpKind::linear) continue;
            const size_t w = size_t(s.weight_index), b = size_t(s.bias_index < 0 ? s.weight_index : s.bias_index);
            const bool alone = uses[w] == 1 && uses[b] == 1;
            const bool trainable = plan_.parameters[w].trainable && plan_.parameters[b].trainable;
            s.update_fused = plain && alone && trainable;
            s.weight_shared = seen[w];
            s.bias_shared = s.bias_index >= 0 && seen[b];
            if (s.bias_index >= 0 && s.weight_shared != s.bias_shared) {
                // One of the two is shared and the other is not: all gradients start from 0 and add up.
                zero_first_ = true;
            }
            seen[w] = seen[b] = true;
            used_[w] = used_[b] = true;
            fused_[w] = fused_[b] = s.update_fused;
            all_fused_ = all_fused_ && (s.update_fused || (!plan_.parameters[w].trainable && !plan_.parameters[b].trainable));
            any_fused_ = any_fused_ || s.update_fused;
        }
        steps_taken_.assign(plan_.parameters.size(), 0);
        find_uniform();

        // Several threads need memory of their own for gradients: not where they will never be asked.
        if (!worth_threads(plan_.batch)) plan_.threads = 1;
        const bool threaded = plan_.threads > 1;

        // Where gradients may take the place of activations: between two Linears, if the reader can mask as it writes.
        for (size_t i = 0; i < stages_.size(); ++i) {
            Stage<T>& s = stages_[i];
            if (s.kind != OpKind::linear || s.in == 0) continue;
            const Stage<T>& before = stages_[i - 1];
            const bool from_linear = before.kind == OpKind::linear;
            buffers_[size_t(s.in)].masked_by_reader = before.relu;
            const bool big = weight_bytes(s) > big_weight;
            s.in_place = !threaded && (from_linear || before.kind == OpKind::dropout) && s.n_out <= k_block && !big;
        }
        in_place_output_ = !threaded && !stages_.empty() && stages_.back().kind == OpKind::linear && !stages_.back().relu;
    }

    void make_optimizers() {
        Settings settings = with_normal_options<T>(plan_.optimizer);
        optimizer_ = make_optimizer<T>(settings);
        states_ = optimizer_->states();
        padding_divides_by_zero_ = optimizer_->spoils_padding();
        clip_value_ = settings.number("clip_value"), clip_norm_ = settings.number("clip_norm");
        biases_differ_ = !settings.flag("decay_biases") && settings.number("weight_decay") != 0;
        if (biases_differ_) settings.numbers["weight_decay"] = 0;
        bias_optimizer_ = make_optimizer<T>(settings);
    }

    // Are all parameters updated by the same rule at the same step? Then one pass over the flat arrays does it.
    void find_uniform() {
        uniform_ = !biases_differ_;
        for (size_t i = 0; i < plan_.parameters.size(); ++i)
            uniform_ = uniform_ && plan_.parameters[i].trainable && used_[i] && steps_taken_[i] == steps_taken_[0];
    }

    static int64_t matrix_size(int64_t rows, int64_t columns) {
        const int width = panel_width<T>(columns);
        return checked_product(rows, round_up(columns, width));
    }

    // Runs twice: to count, and to hand out (see arena.h). In the order in which a step touches it.
    void lay_out() {
        const bool threaded = plan_.threads > 1;
        const int64_t batch = plan_.batch;
        int64_t widest = plan_.n_in, biggest_transpose = 0, biggest_parameter = 0, flat = 0;
        for (int64_t c : op_columns_) widest = c > widest ? c : widest;
        zeros_ = arena_.take<T>(round_up(widest, panel<T>) + panel<T>);

        offset_.resize(plan_.parameters.size());
        size_.resize(plan_.parameters.size());
        for (size_t i = 0; i < plan_.parameters.size(); ++i) {
            const ParameterShape& shape = plan_.parameters[i];
            const bool transposed = weight_is_transposed(shape.n_in, shape.n_out);
            const int64_t numbers = shape.n_in == 0 ? matrix_size(1, shape.n_out)
                                    : transposed    ? matrix_size(shape.n_in, shape.n_out)
                                                    : matrix_size(shape.n_out, shape.n_in);
            offset_[i] = flat;
            size_[i] = round_up(numbers, 64);
            biggest_parameter = size_[i] > biggest_parameter ? size_[i] : biggest_parameter;
            flat += size_[i];
            checked_product(flat, 1);
        }
        flat_size_ = flat;
        values_ = arena_.take<T>(flat);
        for (size_t b = 0; b < buffers_.size(); ++b) {
            Buffer<T>& buffer = buffers_[b];
            buffer.value = arena_.take<T>(matrix_size(batch, buffer.columns));
            bool in_place = false;
            for (const Stage<T>& s : stages_)
                if (s.kind == OpKind::linear && s.in == int(b)) in_place = s.in_place;
            if (int(b) == last_ && b != 0) in_place = in_place_output_;
            buffer.gradient = in_place ? buffer.value : arena_.take<T>(matrix_size(batch, buffer.columns));
        }
        gradients_ = arena_.take<T>(flat);
        state_.resize(size_t(states_));
        for (T*& s : state_) s = arena_.take<T>(flat);
        int64_t kept = 0;
        for (Stage<T>& s : stages_) {
            if (s.kind != OpKind::linear) continue;
            s.row_x = value(s.in, 0, 1), s.row_y = value(s.out, 0, 1);
            s.row_dx = gradient(s.in, 0, 1), s.row_dy = gradient(s.out, 0, 1);
            s.row_mask = mask_of(s, 0);
            s.weight = weight_matrix<T>(values_ + offset_[size_t(s.weight_index)], s.n_in, s.n_out);
            s.bias = s.bias_index >= 0 ? values_ + offset_[size_t(s.bias_index)] : zeros_;
            s.weight_gradient = gradients_ + offset_[size_t(s.weight_index)];
            s.bias_gradient = s.bias_index >= 0 ? gradients_ + offset_[size_t(s.bias_index)] : nullptr;
            if (s.in_place && !dx_needs_transpose(s.n_in, s.n_out) && weight_is_transposed(s.n_in, s.n_out)) {
                const int64_t n = matrix_size(batch, s.n_in);
                kept = n > kept ? n : kept;
            }
            if (!dx_needs_transpose(s.n_in, s.n_out)) continue;
            const int64_t block = s.n_out < k_block + narrow_panel ? s.n_out : k_block + narrow_panel;
            const bool by_blocks = !threaded && !s.in_place && goes_by_blocks(s);
            const int64_t n = by_blocks ? matrix_size(block, panel<T>) : matrix_size(s.n_out, s.n_in);
            if (threaded) s.transposed = Matrix<T>(arena_.take<T>(n), s.n_out, s.n_in);
            else biggest_transpose = n > biggest_transpose ? n : biggest_transpose;
        }
        if (!threaded) {
            T* scratch = arena_.take<T>(biggest_transpose);
            for (Stage<T>& s : stages_)
                if (s.kind == OpKind::linear) s.transposed = Matrix<T>(scratch, s.n_out, s.n_in);
        }
        scratch_ = arena_.take<T>(kept);
        targets_ = arena_.take<T>(plan_.has_loss && !plan_.class_targets ? matrix_size(batch, n_out()) : 0);
        indices_ = arena_.take<int64_t>(batch > evaluation_rows ? batch : evaluation_rows);
        sample_weights_ = arena_.take<T>(batch > evaluation_rows ? batch : evaluation_rows);
        partial_ = arena_.take<double>((batch > evaluation_rows ? batch : evaluation_rows) / row_block + 1);
        for (T*& e : evaluation_) e = arena_.take<T>(matrix_size(evaluation_rows, widest) + matrix_size(evaluation_rows, 1));
        evaluation_targets_ = arena_.take<T>(plan_.has_loss && !plan_.class_targets ? matrix_size(evaluation_rows, n_out()) : 0);
        order_ = arena_.take<int64_t>(plan_.samples);
        order_scratch_ = arena_.take<char>(sample_order_scratch(plan_.samples));
        best_ = arena_.take<T>(flat);
        scratch_parameter_ = arena_.take<T>(padding_divides_by_zero_ ? biggest_parameter : 0);
    }

public:
    bool gradients_start_from_zero() const { return zero_first_; }

private:
    Plan plan_;
    std::vector<int64_t> op_columns_;
    std::vector<Buffer<T>> buffers_;
    std::vector<Stage<T>> stages_;
    std::vector<int64_t> offset_, size_, steps_taken_;
    std::vector<bool> used_, fused_;
    Activation relu_{};
    int states_ = 0, last_ = 0;
    bool padding_divides_by_zero_ = false;
    bool big_ = false;         // some weight fills a core's cache
    bool transposed_ = false;  // every layer's Wᵀ is that of its weights, for several threads
    std::unique_ptr<Optimizer<T>> optimizer_, bias_optimizer_;  // the latter as it treats biases
    bool biases_differ_ = false;
    double clip_value_ = 0, clip_norm_ = 0;  // 0: no clipping
    bool all_fused_ = true, any_fused_ = false, uniform_ = true, zero_first_ = false, in_place_output_ = false;
    int64_t flat_size_ = 0;
    Arena arena_;
    T* zeros_ = nullptr;
    T* values_ = nullptr;
    T* gradients_ = nullptr;
    T* scratch_parameter_ = nullptr;
    T* best_ = nullptr;
    T* targets_ = nullptr;
    T* scratch_ = nullptr;
    T* sample_weights_ = nullptr;
    T* evaluation_[2] = {};
    T* evaluation_targets_ = nullptr;
    std::vector<T*> state_;
    int64_t* indices_ = nullptr;
    int64_t* order_ = nullptr;
    void* order_scratch_ = nullptr;
    double* partial_ = nullptr;
};

}  // namespace chainrule
