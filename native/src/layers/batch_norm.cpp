// BatchNorm, twin of chainrule.layers.normalization.batch: each column standardized by its mean and variance over all rows
// of the batch, in training; else by those that training has followed.
//
//     running ← (1 - share) running + share · that of the batch;  share = momentum, or 1 / batches for a plain mean
//
// The running mean, the running variance and the number of batches are parameters that no rule trains, the plan's last ones.
// The number is two: low + 2^20 high, each of which float32 holds exactly.
#include "affine.h"
#include "standardized.h"

namespace chainrule {

template <class T>
class BatchNorm final : public Affine<T> {
    using Layer<T>::x, Layer<T>::y, Layer<T>::wants_dx, Layer<T>::adds_dx;

public:
    explicit BatchNorm(const Making& making)
        : Affine<T>(making), eps_(making.settings.number("eps")), momentum_(making.settings.number("momentum")), follows_(making.settings.flag("follows")) {
        const auto& shapes = making.shapes;
        const size_t first = this->first_state_;
        if (shapes.size() != first + 3) making.refuse("it has a running mean, a running variance and a number of batches");
        for (size_t i = first; i < shapes.size(); ++i)
            if (shapes[i].n_in != 0 || shapes[i].n_out != (i < first + 2 ? making.y.columns : 2)) making.refuse("its statistics must have a number for each column");
        padded_ = round_up(making.y.columns, panel_width<T>(making.y.columns));
    }

    Manners manners() const override {
        Manners m;
        m.reads_x = true;
        return m;
    }
    double operations() const override { return 10.0 * double(y().columns) * double(y().positions); }
    bool takes_whole_batch() const override { return true; }
    int64_t least_samples() const override { return follows_ && y().positions == 1 ? 2 : 1; }

    void lay_out(Arena& arena, int64_t, bool) override {
        in_pass_ = arena.take<T>((ColumnStatistics<T>::count + 3) * padded_);
        in_evaluation_ = arena.take<T>(ColumnStatistics<T>::count * padded_);
    }
    void memory_is_there(const Memory<T>& memory) override {
        Affine<T>::memory_is_there(memory);
        const auto at = [&](size_t i) { return memory.parameters.value(this->parameters_[this->first_state_ + i]); };
        running_mean_ = at(0), running_var_ = at(1), batches_ = at(2);
    }

    void infer(const Matrix<T>* x, const Matrix<T>& y) const override {
        const auto by = ColumnStatistics<T>::at(in_evaluation_, padded_);
        take_running(by);
        standardize(x[0], y, by, this->weight_.value, this->bias_.value);
    }
    void forward(const Pass& pass, int64_t begin, int64_t end) override {
        const Matrix<T> from = x().rows(begin, end);
        if (goes_through(pass)) {
            find_statistics(from, 1, eps_, of_pass(), var());
            follow(double(from.rows));
        } else {
            take_running(of_pass());
        }
        standardize(from, y().rows(begin, end), of_pass(), this->weight_.value, this->bias_.value);
    }
    void backward(const Pass& pass, int64_t samples) override {
        backward_inputs(pass, 0, samples);  // first, for an update may ride on the gradient of the weight
        backward_parameters(pass, samples, {}, false);
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        const Matrix<T> from = x().rows(begin, end), dy = y().gradient_rows(begin, end);
        sum_gradients(from, dy, of_pass());
        if (!wants_dx(pass)) return;
        const Matrix<T> dx = x().gradient_rows(begin, end);
        if (adds_dx()) standardize_backward<T, true>(from, dy, dx, 1, of_pass(), this->weight_.value, goes_through(pass), scratch(), padded_);
        else standardize_backward<T, false>(from, dy, dx, 1, of_pass(), this->weight_.value, goes_through(pass), scratch(), padded_);
    }
    void backward_parameters(const Pass& pass, int64_t, Share share, bool) override {
        if (share.index > 0) return;
        for (int64_t c = 0; c < padded_; c += lanes<T>) {
            const int n = int(padded_ - c < lanes<T> ? padded_ - c : lanes<T>);
            if (this->weight_.is_trained) this->weight_.finish(pass, c, this->weight_.start(pass, c, n) + load_partial(of_pass().of_dy_x_hat + c, n), n);
            if (this->bias_.is_trained) this->bias_.finish(pass, c, this->bias_.start(pass, c, n) + load_partial(of_pass().of_dy + c, n), n);
        }
    }

    // One thread has all of it: what it writes, the next layer reads after the barrier.
    void forward_part(const Pass& pass, int64_t samples, Share share) override {
        if (share.index == 0) forward(pass, 0, samples);
    }
    int backward_phases() const override { return 2; }
    void backward_part(const Pass& pass, int64_t samples, int phase, Share share) override {
        if (share.index > 0) return;
        if (phase == 0) backward_inputs(pass, 0, samples);
        else backward_parameters(pass, samples, share, false);
    }

private:
    // Whether the batch itself says the mean and the variance, so that every x moves them.
    bool goes_through(const Pass& pass) const { return follows_ && pass.training; }
    ColumnStatistics<T> of_pass() const { return ColumnStatistics<T>::at(in_pass_, padded_); }
    T* var() const { return in_pass_ + ColumnStatistics<T>::count * padded_; }
    T* scratch() const { return var() + padded_; }

    void take_running(const ColumnStatistics<T>& to) const {
        for (int64_t c = 0; c < padded_; ++c) {  // beyond the columns they are 0, and so is y, or the bias
            const bool is_column = c < y().columns;
            to.mean[c] = is_column ? running_mean_[c] : T(0), to.rest[c] = 0;
            to.s[c] = is_column ? T(1) / std::sqrt(running_var_[c] + T(eps_)) : T(0);
        }
    }
    void follow(double n) {
        constexpr int64_t unit = int64_t(1) << 20;
        const int64_t batches = int64_t(batches_[1]) * unit + int64_t(batches_[0]) + 1;
        batches_[0] = T(batches % unit), batches_[1] = T(batches / unit);
        const double share = momentum_ < 0 ? 1 / double(batches) : momentum_;
        const T keeps = T(1 - share), takes = T(share), unbiased = T(n / (n - 1));
        for (int64_t c = 0; c < y().columns; ++c) {
            running_mean_[c] = keeps * running_mean_[c] + takes * (of_pass().mean[c] + of_pass().rest[c]);
            running_var_[c] = keeps * running_var_[c] + takes * (var()[c] * unbiased);
        }
    }

    double eps_, momentum_;  // below 0: the plain mean of all batches
    bool follows_;           // else it goes by the running ones, in training too
    int64_t padded_ = 0;
    T *in_pass_ = nullptr, *in_evaluation_ = nullptr, *running_mean_ = nullptr, *running_var_ = nullptr, *batches_ = nullptr;
};

template <class T>
std::unique_ptr<Layer<T>> make_batch_norm(const Making& making) {
    if (making.settings.kind == "BatchNorm") return std::make_unique<BatchNorm<T>>(making);
    return nullptr;
}

template std::unique_ptr<Layer<NUMBER>> make_batch_norm<NUMBER>(const Making&);

}  // namespace chainrule
