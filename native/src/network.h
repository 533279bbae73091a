// A plan laid out in memory, and the walk over its layers: forward, backward, update. It knows no layer by name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fusion.h"
#include "layers/layers.h"

namespace chainrule {

// What reads before it is written, stands twice among the outputs, or names what is not there.
inline void check_plan(const Plan& plan) {
    auto refuse = [](const std::string& why) { throw std::invalid_argument("plan: " + why); };
    if (plan.batch < 1) refuse("batch must be at least 1, got " + std::to_string(plan.batch));
    if (plan.threads < 1) refuse("threads must be at least 1");
    if (plan.accumulate < 1) refuse("accumulate must be at least 1");
    if (plan.inputs.empty() || plan.outputs.empty()) refuse("there must be inputs and outputs");
    std::vector<bool> written(plan.values.size(), false);
    auto exists = [&](int v) { return v >= 0 && size_t(v) < plan.values.size(); };
    for (const ValueShape& shape : plan.values)
        if (shape.columns < 1 || shape.positions < 1 || shape.columns > (int64_t(1) << 31) || shape.positions > (int64_t(1) << 31))
            refuse("a value's shape is empty or huge");
    for (int v : plan.inputs) {
        if (!exists(v) || written[size_t(v)]) refuse("no value " + std::to_string(v) + " for an input");
        written[size_t(v)] = true;
    }
    for (size_t i = 0; i < plan.ops.size(); ++i) {
        const Op& op = plan.ops[i];
        const std::string at = "op " + std::to_string(i) + ": ";
        if (op.inputs.empty()) refuse(at + "it reads nothing");
        for (int v : op.inputs)
            if (!exists(v) || !written[size_t(v)]) refuse(at + "value " + std::to_string(v) + " is not there");
        if (!exists(op.output) || written[size_t(op.output)]) refuse(at + "value " + std::to_string(op.output) + " cannot be written");
        written[size_t(op.output)] = true;
        for (int p : op.parameters)
            if (p < 0 || size_t(p) >= plan.parameters.size()) refuse(at + "no parameter " + std::to_string(p));
    }
    for (int v : plan.outputs)
        if (!exists(v) || !written[size_t(v)]) refuse("output " + std::to_string(v) + " is not there");
    for (const std::vector<int>* ends : {&plan.inputs, &plan.outputs})
        for (int v : *ends)
            if (plan.values[size_t(v)].positions != 1) refuse("inputs and outputs must have one position");
    if (plan.statistics < 0 || plan.statistics > int(plan.parameters.size())) refuse("there are fewer parameters than statistics");
    if (!plan.heads.empty() && plan.heads.size() != plan.outputs.size()) refuse("there must be a head for each output");
    if (!plan.rule_of.empty() && plan.rule_of.size() != plan.parameters.size()) refuse("there must be a rule for each parameter");
    for (int rule : plan.rule_of)
        if (rule < -1 || rule >= int(plan.has_optimizer() ? plan.rules.size() : 1)) refuse("no rule " + std::to_string(rule));
}

template <class T>
class Network {
public:
    explicit Network(const Plan& plan) : plan_(plan), parameters_(plan) {
        make_layers();
        if (!worth_threads(plan.batch)) plan_.threads = 1;
        std::vector<Manners> manners;
        for (const auto& layer : made_) manners.push_back(layer->manners());
        fusion_ = std::make_unique<Fusion>(plan_, manners, plan_.threads > 1);
        put(*fusion_);
        settle();
        chunk_rows_ = samples_in_cache();
    }

    // ---- memory; all of it runs twice (arena.h)

    void lay_out(Arena& arena) {
        int64_t widest = 0;
        for (const ValueShape& shape : plan_.values) widest = shape.columns > widest ? shape.columns : widest;
        zeros_ = arena.take<T>(round_up(widest, panel<T>) + panel<T>);
        parameters_.lay_out_values(arena);
        for (size_t s = 0; s < values_.size(); ++s) {
            Value<T>& value = values_[s];
            value.data = arena.take<T>(matrix_size<T>(value.capacity, value.columns));
            if (gradient_of_[s] == int(s)) value.gradient = arena.take<T>(matrix_size<T>(value.capacity, value.columns));
            if (gradient_of_[s] == over_value) value.gradient = value.data;
        }
        for (size_t s = 0; s < values_.size(); ++s)
            if (gradient_of_[s] >= 0) values_[s].gradient = values_[size_t(gradient_of_[s])].gradient;
        parameters_.lay_out_gradients(arena, plan_.threads);
        for (Layer<T>* layer : layers_) layer->lay_out(arena, plan_.batch, plan_.threads > 1);
        shared_scratch_ = arena.take<T>(shared_scratch_size());
    }
    void lay_out_best(Arena& arena) { parameters_.lay_out_best(arena); }
    void memory_is_there() {
        parameters_.start();
        for (Layer<T>* layer : layers_) layer->bind();
        for (Layer<T>* layer : layers_) layer->memory_is_there({parameters_, zeros_, shared_scratch_, plan_.batch, chunk_rows_ < k_block ? chunk_rows_ : k_block});
    }

    Parameters<T>& parameters() { return parameters_; }
    const Parameters<T>& parameters() const { return parameters_; }
    int threads() const { return plan_.threads; }
    const Fusion& fusion() const { return *fusion_; }
    std::vector<int> input_slots() const { return slots_of(plan_.inputs); }
    std::vector<int> output_slots() const { return slots_of(plan_.outputs); }
    const std::vector<Layer<T>*>& layers() const { return layers_; }

    size_t inputs() const { return inputs_.size(); }
    size_t outputs() const { return outputs_.size(); }
    const Value<T>& input(size_t i) const { return *inputs_[i]; }
    const Value<T>& output(size_t i) const { return *outputs_[i]; }

    // ---- passes

    // A batch passes through the network in chunks of so many samples, so that what a layer has written is still in cache
    // when the next one reads it. Gradients add up block of k after block in any case: the same bits.
    int64_t chunk_rows() const { return chunk_rows_; }
    bool is_big() const { return is_big_; }  // has a layer whose weights come from afar for each chunk
    int64_t least_samples() const { return least_samples_; }  // of a batch in training

    void forward(const Pass& pass, int64_t begin, int64_t end) {
        for (Layer<T>* layer : layers_) layer->forward(pass, begin, end);
    }
    // From the outputs' gradients back to those of the parameters (and the inputs), by one thread.
    void backward(const Pass& pass, int64_t samples) {
        const std::vector<Layer<T>*>& layers = pass.input ? layers_ : going_back_;
        for (size_t i = layers.size(); i-- > 0;) layers[i]->backward(pass, samples);
    }

    // By several threads. Each its own rows, in two halves: all dx, then the gradients of the parameters. Where every update
    // rides on its gradient, the thread that has made a slice of W prepares it for the next step.
    bool is_prepared() const { return prepared_; }
    void parameters_changed() { prepared_ = false; }
    void prepare(Share share) {
        for (Layer<T>* layer : going_back_) layer->prepare(share);
        prepare_forward(share);
    }
    void prepare_forward(Share share) {
        for (Layer<T>* layer : preparing_) layer->prepare(share);
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) {
        for (size_t i = going_back_.size(); i-- > 0;) going_back_[i]->backward_inputs(pass, begin, end);
    }
    void backward_parameters(const Pass& pass, int64_t samples, Share share) {
        for (size_t i = going_back_.size(); i-- > 0;) going_back_[i]->backward_parameters(pass, samples, share, parameters_.all_fused());
    }
    void parameters_stepped() { prepared_ = parameters_.all_fused(); }

    // Or layer by layer, where rows are too few to be split, depend on each other or a weight fills a core's cache: each thread takes its part of
    // the weight, and all rows. phase(f) runs f for every share.
    bool goes_by_layers(int64_t samples) const { return is_whole_ || (is_big_ && samples < 2 * chunk_rows()) || samples < 2 * row_block; }
    template <class Phase>
    void forward_by_layers(const Pass& pass, int64_t samples, const Phase& phase) {
        for (Layer<T>* layer : layers_) phase([&](Share share) { layer->forward_part(pass, samples, share); });
    }
    template <class Phase>
    void backward_by_layers(const Pass& pass, int64_t samples, const Phase& phase) {
        for (size_t i = going_back_.size(); i-- > 0;)
            for (int p = 0, n = going_back_[i]->backward_phases(); p < n; ++p)
                phase([&](Share share) { going_back_[i]->backward_part(pass, samples, p, share); });
    }

    bool gradients_start_from_zero() const { return gradients_start_from_zero_; }

    // Does a step on that many rows last long enough to share it? About 10 µs of one core's work. (A row alone goes through
    // products/row.h.)
    bool worth_threads(int64_t samples) const {
        if (plan_.threads == 1 || samples == 1) return false;
        return operations_ * double(samples) + parameters_.operations_of_wholes() > 1.5e6;
    }

private:
    static constexpr int over_value = -1;

    void make_layers() {
        std::vector<bool> is_behind_trained(plan_.values.size(), false);
        for (const Op& op : plan_.ops) {
            Making making{op.settings, {}, plan_.values[size_t(op.output)], {}, op.parameters, plan_.seed};
            for (int v : op.inputs) making.x.push_back(plan_.values[size_t(v)]);
            for (int p : op.parameters) making.shapes.push_back(plan_.parameters[size_t(p)]);
            made_.push_back(make_layer<T>(making));
            // Of a layer's three products, y, dx and dW, those that are made; of what is trained, all.
            const bool trains = std::any_of(op.parameters.begin(), op.parameters.end(), [&](int p) { return plan_.is_trained(p); });
            const bool goes_back = std::any_of(op.inputs.begin(), op.inputs.end(), [&](int v) { return is_behind_trained[size_t(v)]; });
            is_behind_trained[size_t(op.output)] = trains || goes_back;
            operations_ += made_.back()->operations() * (trains ? 1 : goes_back ? 2. / 3 : 1. / 3);
        }
    }

    void put(const Fusion& fusion) {
        for (const Slot& slot : fusion.slots) {
            Value<T> value;
            value.columns = slot.shape.columns;
            value.positions = slot.shape.positions;
            value.capacity = checked_product(plan_.batch, slot.shape.positions);
            value.is_relu = slot.is_relu;
            value.reader_masks = slot.reader_masks;
            value.scale = T(slot.scale);
            gradient_of_.push_back(slot.gradient_over_value ? over_value
                                   : slot.gradient_of >= 0  ? slot.gradient_of
                                                            : int(values_.size()));
            values_.push_back(value);
        }
        for (const FusedOp& op : fusion.ops) {
            Place<T> place;
            for (int s : op.x) place.x.push_back(&values_[size_t(s)]);
            place.dx = op.dx;
            place.y = &values_[size_t(op.y)];
            place.carries_relu = op.carries_relu;
            place.over_relu = op.over_relu;
            place.dx_over_x = op.dx_over_x;
            Layer<T>* layer = made_[size_t(op.op)].get();
            layer->put(std::move(place));
            layers_.push_back(layer);
            if (fusion.goes_back(op)) going_back_.push_back(layer);
            if (layer->prepares_forward()) preparing_.push_back(layer);
            is_big_ = is_big_ || layer->is_big();
            is_whole_ = is_whole_ || layer->takes_whole_batch();
            least_samples_ = std::max(least_samples_, layer->least_samples());
        }
        for (int v : plan_.inputs) inputs_.push_back(&values_[size_t(fusion.slot[size_t(v)])]);
        for (int v : plan_.outputs) outputs_.push_back(&values_[size_t(fusion.slot[size_t(v)])]);
    }

    void settle() {
        for (Layer<T>* layer : layers_)
            for (int p : layer->parameters()) parameters_.use(p);
        Seen seen{std::vector<bool>(plan_.parameters.size(), false)};
        for (size_t i = layers_.size(); i-- > 0;) layers_[i]->settle(parameters_, seen);
        gradients_start_from_zero_ = seen.start_from_zero;
    }

    // Of vectors a fixed number of samples. Of images as many as fill half of a core's own cache with their gradients: whole
    // blocks of rows, and no more than of vectors. (All at once took 29 % longer than what fits, of LeNet's on AVX2.)
    int64_t samples_in_cache() const {
        double numbers = 0;  // of a plan that is too large they may be more than an integer counts
        bool has_images = false;
        for (const Value<T>& value : values_) {
            numbers += 2 * double(value.columns) * double(value.positions);
            has_images = has_images || value.positions > 1;
        }
        // What layers share adds up its gradient layer after layer where several threads do it; so all rows pass at once.
        if (is_whole_ || parameters_.has_shared()) return plan_.batch > k_block ? plan_.batch : k_block;
        if (!has_images) return is_big_ ? 2 * k_block : k_block;
        const int64_t fit = int64_t(double(near_cache / 2) / (numbers * double(sizeof(T)))) / row_block * row_block;
        return fit < row_block ? row_block : fit < k_block ? fit : k_block;
    }

    std::vector<int> slots_of(const std::vector<int>& values) const {
        std::vector<int> slots;
        for (int v : values) slots.push_back(fusion_->slot[size_t(v)]);
        return slots;
    }

    int64_t shared_scratch_size() const {
        int64_t most = 0;
        for (const Layer<T>* layer : layers_) {
            const int64_t n = layer->shared_scratch(plan_.batch, plan_.threads > 1);
            most = n > most ? n : most;
        }
        return most;
    }

    Plan plan_;
    Parameters<T> parameters_;
    std::vector<std::unique_ptr<Layer<T>>> made_;  // of every op of the plan
    std::vector<Layer<T>*> layers_, going_back_, preparing_;  // those that run; of them those with something to do on the way back, or before they go forward
    std::vector<Value<T>> values_;                 // the slots; never resized once layers point to them
    std::vector<int> gradient_of_;                 // whose memory each slot's gradient has
    std::vector<Value<T>*> inputs_, outputs_;
    std::unique_ptr<Fusion> fusion_;
    T *zeros_ = nullptr, *shared_scratch_ = nullptr;
    double operations_ = 0;
    int64_t chunk_rows_ = k_block, least_samples_ = 1;
    bool is_big_ = false, is_whole_ = false, prepared_ = false, gradients_start_from_zero_ = false;
};

}  // namespace chainrule
