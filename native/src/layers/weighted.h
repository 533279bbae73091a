// A layer with a weight and perhaps a bias: which of them are trained, who adds to whose gradient, whose update rides on it.
#pragma once

#include "../products/tiles.h"
#include "layers.h"

namespace chainrule {

template <class T>
class Weighted : public Layer<T> {
public:
    explicit Weighted(const Making& making) : Layer<T>(making.parameters), has_bias_(making.parameters.size() == 2) {
        if (making.shapes.empty() || making.shapes.size() > 2) making.refuse("it has a weight and perhaps a bias");
    }

    void settle(Parameters<T>& all, Seen& seen) override {
        trains_weight_ = all.is_trained(this->parameters_[0]), trains_bias_ = has_bias_ && all.is_trained(this->parameters_[1]);
        if (!trains_weight_ && !trains_bias_) return;
        const int first = this->parameters_[trains_weight_ ? 0 : 1], last = this->parameters_[trains_bias_ ? 1 : 0];
        rule_ = all.rule(first);
        fuses_update_ = all.may_fuse_update(first) && all.may_fuse_update(last) && all.rule(last) == rule_;
        if (fuses_update_) all.fuse_update(first), all.fuse_update(last);
        const bool first_seen = seen.parameter[size_t(first)], last_seen = seen.parameter[size_t(last)];
        adds_ = first_seen || last_seen;
        if (first_seen != last_seen) seen.start_from_zero = true;  // one of the two is shared and the other is not
        seen.parameter[size_t(first)] = seen.parameter[size_t(last)] = true;
    }
    void memory_is_there(const Memory<T>& memory) override {
        const int weight = this->parameters_[0], bias = this->parameters_.back();
        zeros_ = memory.zeros;
        block_ = memory.block;
        weight_ = parameter_matrix<T>(memory.parameters.shape(weight), memory.parameters.value(weight));
        bias_ = has_bias_ ? memory.parameters.value(bias) : nullptr;
        weight_gradient_ = trains_weight_ ? memory.parameters.gradient(weight) : nullptr;
        bias_gradient_ = trains_bias_ ? memory.parameters.gradient(bias) : nullptr;
    }

protected:
    const T* bias() const { return bias_ ? bias_ : zeros_; }

    LinearGradient<T> gradient(const Pass& pass) const {
        LinearGradient<T> to;
        to.weight = weight_gradient_;
        to.bias = bias_gradient_;
        to.add = pass.add || adds_;
        to.update = pass.update && fuses_update_;
        if (to.update) to.lr = T(pass.lr[rule_]);
        to.block = block_;
        to.weight_value = weight_.data;
        to.bias_value = const_cast<T*>(bias());
        return to;
    }

    // db of a value with many positions: the sum of each sample's rows, in four chains, sample after sample.
    void bias_of(const LinearGradient<T>& to, const Matrix<T>& dy, int64_t positions) const {
        if (!to.bias) return;
        const int width = dy.width();
        for (int64_t p = 0; p < dy.panels(); ++p)
            for (int c = 0; c < width; c += lanes<T>) {
                const int n = width - c < lanes<T> ? width - c : lanes<T>;
                T* const at = to.bias + p * width + c;
                Vec<T> sum = to.add ? load_partial(at, n) : Vec<T>{};
                for (int64_t begin = 0; begin < dy.rows; begin += positions) {
                    const T* row = dy.row(p, begin) + c;
                    Vec<T> chains[4]{};
                    int64_t i = 0;
                    for (; i + 4 <= positions; i += 4)
#pragma GCC unroll 4
                        for (int q = 0; q < 4; ++q) chains[q] += load_unaligned(row + (i + q) * width);
                    for (; i < positions; ++i) chains[i & 3] += load_unaligned(row + i * width);
                    sum += (chains[0] + chains[1]) + (chains[2] + chains[3]);
                }
                T* const value = to.bias_value + p * width + c;
                if (to.update) store_partial(value, fma(broadcast<T>(-to.lr), sum, load_partial(value, n)), n);
                else store_partial(at, sum, n);
            }
    }

    bool has_bias_, trains_weight_ = true, trains_bias_ = true, fuses_update_ = false;
    bool adds_ = false;  // a later layer has the same parameters: their gradient is there already
    int rule_ = 0;       // of the parameters whose updates ride on their gradients
    Matrix<T> weight_;
    const T* zeros_ = nullptr;

private:
    int64_t block_ = k_block;
    const T* bias_ = nullptr;
    T *weight_gradient_ = nullptr, *bias_gradient_ = nullptr;
};

}  // namespace chainrule
