// One pass over a plan, before any memory is counted: what rides on what, and what takes the place of what.
//
// Values that can share memory share a slot. Everything is decided from what the layers say of themselves (Manners), so
// that nothing here depends on numbers, sizes or addresses, and all of it can be read by itself.
//
//   rides        a ReLU on the product that makes its input: it is applied as the product is written
//   in place     y over x, if nobody else reads x and no backward pass needs it
//   over a ReLU  Dropout over what a ReLU made: what it drops is 0, and one mask serves both, which scales as well
//   dx over x    the gradient of a value in its own place, if its only reader can do that and its writer has no need of it
//   given        dx of a Sum is dy: the same memory, unless somebody changes it before all have read it
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "layer.h"

namespace chainrule {

struct FusedOp {
    int op = 0;  // of the plan
    std::vector<int> x;
    int y = 0;  // slots
    std::vector<Coming> dx;
    bool carries_relu = false, over_relu = false, dx_over_x = false;
};

struct Slot {
    ValueShape shape;
    bool is_relu = false, reader_masks = false;
    double scale = 1;  // of the ReLU's mask
    bool gradient_over_value = false;
    int gradient_of = -1;  // the slot whose gradient's memory it has; -1: its own
};

struct Fusion {
    std::vector<FusedOp> ops;      // those that run, in the plan's order
    std::vector<Slot> slots;
    std::vector<int> slot;         // of each value; -1 for one that leads nowhere
    std::vector<std::string> notes;  // for each op of the plan

    // Has it anything to do on the way back where nobody asks for the gradients of the inputs?
    bool goes_back(const FusedOp& op) const {
        return trains(op) || std::any_of(op.dx.begin(), op.dx.end(), [](const Coming& c) { return !c.input_only; });
    }

    // threaded: several threads share a step, and the gradients of parameters come after all others.
    Fusion(const Plan& plan, std::vector<Manners> manners, bool threaded)
        : slot(plan.values.size(), -1), notes(plan.ops.size()), plan_(plan), manners_(std::move(manners)), threaded_(threaded) {
        find_living();
        lay_forward();
        lay_backward();
        if (!threaded_) {
            give();
            write_over();
        }
    }

private:
    void find_living() {
        lives_.assign(plan_.values.size(), false);
        outputs_.assign(plan_.values.size(), 0);
        reads_.assign(plan_.values.size(), 0);
        for (int v : plan_.outputs) lives_[size_t(v)] = true, ++outputs_[size_t(v)];
        for (size_t i = plan_.ops.size(); i-- > 0;) {
            const Op& op = plan_.ops[i];
            if (!lives_[size_t(op.output)]) {
                notes[i] = "leads nowhere";
                continue;
            }
            for (int v : op.inputs) lives_[size_t(v)] = true, ++reads_[size_t(v)];
        }
    }

    // Slots, and the ops that run.
    void lay_forward() {
        for (int v : plan_.inputs) add_slot(v);
        is_input_.assign(slots.size(), true);
        writers_.resize(slots.size());
        for (size_t i = 0; i < plan_.ops.size(); ++i) {
            const Op& op = plan_.ops[i];
            if (!lives_[size_t(op.output)]) continue;
            const Manners& mine = manners_[i];
            FusedOp fused;
            fused.op = int(i);
            for (int v : op.inputs) fused.x.push_back(slot[size_t(v)]);
            const int first = op.inputs[0], s = fused.x[0];
            const bool alone = op.inputs.size() == 1 && reads_[size_t(first)] == 1 && outputs_[size_t(first)] == 0 && !is_input_[size_t(s)];
            const int before = alone ? writers_[size_t(s)].back() : -1;  // place in `ops` of who wrote x last
            if (alone && mine.is_relu && manner(before).carries_relu && !ops[size_t(before)].carries_relu) {
                ops[size_t(before)].carries_relu = true;
                slots[size_t(s)].is_relu = true;
                slot[size_t(op.output)] = s;
                notes[i] = "rides on op " + std::to_string(ops[size_t(before)].op);
                continue;
            }
            fused.over_relu = alone && mine.keeps_zeros && slots[size_t(s)].is_relu && writers_[size_t(s)].size() == 1;
            const bool in_place = alone && mine.works_in_place && !mine.reads_x && !manner(before).reads_y && !slots[size_t(s)].is_relu;
            if (fused.over_relu || in_place) {
                slot[size_t(op.output)] = s;
                if (fused.over_relu) slots[size_t(s)].scale = mine.scale;
                notes[i] = fused.over_relu ? "in place, with the ReLU's mask" : "in place";
            } else {
                add_slot(op.output);
                is_input_.push_back(false);
                writers_.emplace_back();
            }
            fused.y = slot[size_t(op.output)];
            writers_[size_t(fused.y)].push_back(int(ops.size()));
            ops.push_back(fused);
        }
    }

    // Who writes a gradient, who adds to it, who masks it.
    void lay_backward() {
        std::vector<bool> trained(slots.size(), false), arrived(slots.size(), false);
        for (const FusedOp& op : ops) {
            bool of = trains(op);
            for (int s : op.x) of = of || trained[size_t(s)];
            trained[size_t(op.y)] = trained[size_t(op.y)] || of;
        }
        is_output_.assign(slots.size(), 0);
        for (int v : plan_.outputs) ++is_output_[size_t(slot[size_t(v)])], arrived[size_t(slot[size_t(v)])] = true;
        readers_.resize(slots.size());
        for (size_t n = ops.size(); n-- > 0;) {
            FusedOp& op = ops[n];
            for (int s : op.x) {
                Coming coming;
                coming.input_only = !trained[size_t(s)];
                if (s != op.y) {
                    coming.how = arrived[size_t(s)] ? Coming::How::added : Coming::How::written;
                    arrived[size_t(s)] = true;
                    readers_[size_t(s)].push_back(int(n));
                }
                op.dx.push_back(coming);
            }
        }
        for (size_t s = 0; s < slots.size(); ++s)
            slots[s].reader_masks = slots[s].is_relu && is_output_[s] == 0 && readers_[s].size() == 1 && manner(readers_[s][0]).masks_dx;
    }

    // Sums hand dy on as it lies, where nobody changes that memory before everybody else has read it.
    void give() {
        std::vector<std::vector<int>> sharing(slots.size());  // for each slot that gives its memory: those that have it
        for (size_t n = ops.size(); n-- > 0;) {
            FusedOp& op = ops[n];
            if (!manner(int(n)).passes_dy) continue;
            const int root = slots[size_t(op.y)].gradient_of >= 0 ? slots[size_t(op.y)].gradient_of : op.y;
            for (size_t k = 0; k < op.x.size(); ++k) {
                const int s = op.x[k];
                if (op.dx[k].how != Coming::How::written || is_input_[size_t(s)] || slots[size_t(s)].reader_masks) continue;
                if (std::count(op.x.begin(), op.x.end(), s) > 1) continue;
                bool fits = true;
                for (int other : sharing[size_t(root)])
                    fits = fits && last_change(s) < first_reading(other) && last_change(other) < first_reading(s);
                if (!fits) continue;
                sharing[size_t(root)].push_back(s);
                slots[size_t(s)].gradient_of = root;
                op.dx[k].how = Coming::How::given;
            }
            if (std::all_of(op.dx.begin(), op.dx.end(), [](const Coming& c) { return c.how == Coming::How::given || c.input_only; }))
                note(op.op, "its inputs' gradients are its own");
        }
    }
    // Backward goes from the last op to the first: the highest number comes first.
    // The first op, on the way back, that changes a slot's gradient after it has arrived; -1: nobody does.
    int last_change(int s) const {
        int last = -1;
        for (int n : readers_[size_t(s)])
            if (adds(n, s)) last = std::max(last, n);
        const bool in_place = writers_[size_t(s)].size() > 1, masked = slots[size_t(s)].is_relu && !slots[size_t(s)].reader_masks;
        for (int n : writers_[size_t(s)])
            if (in_place || masked) last = std::max(last, n);
        return last;
    }
    // The last op, on the way back, that reads it.
    int first_reading(int s) const { return *std::min_element(writers_[size_t(s)].begin(), writers_[size_t(s)].end()); }
    bool adds(int n, int s) const {
        const FusedOp& op = ops[size_t(n)];
        for (size_t k = 0; k < op.x.size(); ++k)
            if (op.x[k] == s && op.dx[k].how == Coming::How::added) return true;
        return false;
    }

    // Gradients in the place of values.
    void write_over() {
        for (size_t s = 0; s < slots.size(); ++s) {
            Slot& here = slots[s];
            if (is_input_[s] || here.gradient_of >= 0 || (here.is_relu && !here.reader_masks)) continue;
            if (std::any_of(writers_[s].begin(), writers_[s].end(), [&](int n) { return manner(n).reads_y; })) continue;
            if (readers_[s].empty()) {
                here.gradient_over_value = is_output_[s] == 1;  // the loss writes it
            } else if (readers_[s].size() == 1 && is_output_[s] == 0 && manner(readers_[s][0]).writes_dx_over_x) {
                FusedOp& reader = ops[size_t(readers_[s][0])];
                here.gradient_over_value = reader.dx_over_x = true;
                note(reader.op, "dx over x");
            }
        }
    }

    void add_slot(int v) {
        slot[size_t(v)] = int(slots.size());
        slots.push_back({plan_.values[size_t(v)]});
    }
    bool trains(const FusedOp& op) const {
        const std::vector<int>& parameters = plan_.ops[size_t(op.op)].parameters;
        return std::any_of(parameters.begin(), parameters.end(), [&](int p) { return plan_.is_trained(p); });
    }
    const Manners& manner(int n) const { return manners_[size_t(ops[size_t(n)].op)]; }
    void note(int op, const std::string& text) {
        std::string& all = notes[size_t(op)];
        all += (all.empty() ? "" : ", ") + text;
    }

    Plan plan_;
    std::vector<Manners> manners_;
    bool threaded_;
    std::vector<bool> lives_, is_input_;
    std::vector<int> outputs_, reads_;                // of values
    std::vector<int> is_output_;                      // of slots, how often
    std::vector<std::vector<int>> writers_, readers_;  // of slots: places in `ops`
};

}  // namespace chainrule
