// What follows a normalization: y = w x̂ + b, each of which may be missing.
#pragma once

#include "layers.h"

namespace chainrule {

template <class T>
class Affine : public Layer<T> {
public:
    explicit Affine(const Making& making) : Layer<T>(making.parameters) {
        if (making.x.size() != 1 || making.x[0].columns != making.y.columns || making.x[0].positions != making.y.positions)
            making.refuse("it reads one value and writes one like it");
        const bool has_weight = making.settings.flag("weight"), has_bias = making.settings.flag("bias");
        size_t next = 0;
        if (has_weight) weight_.place = int(next++);
        if (has_bias) bias_.place = int(next++);
        if (making.shapes.size() < next) making.refuse("there must be a weight and a bias");
        for (size_t i = 0; i < next; ++i)
            if (making.shapes[i].n_in != 0 || making.shapes[i].n_out != making.y.columns) making.refuse("its parameters must have a number for each column");
        first_state_ = next;
    }

    void settle(Parameters<T>& all, Seen& seen) override {
        for (Row* row : {&weight_, &bias_}) {
            if (row->place < 0) continue;
            const int p = this->parameters_[size_t(row->place)];
            row->is_trained = all.is_trained(p);
            if (!row->is_trained) continue;
            row->rule = all.rule(p);
            row->fuses_update = all.may_fuse_update(p);
            if (row->fuses_update) all.fuse_update(p);
            row->adds = seen.parameter[size_t(p)];
            seen.parameter[size_t(p)] = true;
        }
    }
    void memory_is_there(const Memory<T>& memory) override {
        for (Row* row : {&weight_, &bias_}) {
            if (row->place < 0) continue;
            const int p = this->parameters_[size_t(row->place)];
            row->value = memory.parameters.value(p);
            row->gradient = row->is_trained ? memory.parameters.gradient(p) : nullptr;
        }
    }

protected:
    struct Row {  // a number for each column
        int place = -1, rule = 0;
        bool is_trained = false, fuses_update = false, adds = false;
        T *value = nullptr, *gradient = nullptr;

        // What was there before this pass, in a vector of n columns from c on.
        FORCE_INLINE Vec<T> start(const Pass& pass, int64_t c, int n) const { return pass.add || adds ? load_partial(gradient + c, n) : Vec<T>{}; }
        FORCE_INLINE void finish(const Pass& pass, int64_t c, Vec<T> g, int n) const {
            if (pass.update && fuses_update) store_partial(value + c, fma(broadcast<T>(T(-pass.lr[rule])), g, load_partial(value + c, n)), n);
            else store_partial(gradient + c, g, n);
        }
    };
    Row weight_, bias_;
    size_t first_state_ = 0;  // the parameters behind these are a layer's own
};

}  // namespace chainrule
