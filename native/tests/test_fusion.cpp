// fusion.h: what rides, what lies in place, who adds and who gives, on small graphs; and on random ones, a machine that
// knows no numbers but what lies where, and finds out whether everybody reads what the plan says.
#include "../src/loop.h"

#include <optional>

#include "check.h"
#include "random_plans.h"

using namespace chainrule;

namespace {

std::vector<Manners> manners_of(const Plan& plan) {
    std::vector<Manners> all;
    for (const Op& op : plan.ops) {
        Making making{op.settings, {}, plan.values[size_t(op.output)], {}, op.parameters, plan.seed};
        for (int v : op.inputs) making.x.push_back(plan.values[size_t(v)]);
        for (int p : op.parameters) making.shapes.push_back(plan.parameters[size_t(p)]);
        all.push_back(make_layer<double>(making)->manners());
    }
    return all;
}

Fusion fuse(const Plan& plan, bool threaded = false) { return Fusion(plan, manners_of(plan), threaded); }

// The op that runs for op i of the plan; null: none does.
const FusedOp* running(const Fusion& fusion, int i) {
    for (const FusedOp& op : fusion.ops)
        if (op.op == i) return &op;
    return nullptr;
}
Coming::How how(const Fusion& fusion, int i, size_t k = 0) { return running(fusion, i)->dx[k].how; }
const Slot& slot_of(const Fusion& fusion, int value) { return fusion.slots[size_t(fusion.slot[size_t(value)])]; }

using How = Coming::How;

// ---- by example; ops are numbered as they are added

TEST("a ReLU rides on the Linear before it, and its reader masks") {
    Builder net;
    const int x = net.input(3), h = net.linear(x, 20), r = net.add("ReLU", {h}), y = net.linear(r, 20);
    net.head(y);
    for (bool threaded : {false, true}) {
        const Fusion f = fuse(net.plan, threaded);
        CHECK(f.ops.size() == 2 && f.ops[0].carries_relu && !f.ops[1].carries_relu);
        CHECK(f.slot[size_t(h)] == f.slot[size_t(r)]);
        CHECK(slot_of(f, r).is_relu && slot_of(f, r).reader_masks);
        CHECK(f.notes[1] == "rides on op 0", "%s", f.notes[1].c_str());
    }
}

TEST("a ReLU that two read rides too, but then its writer masks") {
    Builder net;
    const int r = net.add("ReLU", {net.linear(net.input(3), 20)});
    net.head(net.add("Sum", {net.linear(r, 20), net.linear(r, 20)}));
    const Fusion f = fuse(net.plan);
    CHECK(f.ops[0].carries_relu && slot_of(f, r).is_relu && !slot_of(f, r).reader_masks);
    CHECK(how(f, 3) == How::written && how(f, 2) == How::added, "the last reader comes first");
}

TEST("a ReLU that is an output, or that a Concat reads, is masked by its writer") {
    Builder out;
    out.head(out.add("ReLU", {out.linear(out.input(3), 20)}));
    CHECK(!fuse(out.plan).slots.back().reader_masks && fuse(out.plan).slots.back().is_relu);
    Builder concat;
    const int x = concat.input(20), r = concat.add("ReLU", {concat.linear(x, 20)});
    concat.head(concat.linear(concat.concat({r, x}), 2));
    CHECK(!slot_of(fuse(concat.plan), r).reader_masks);
}

TEST("a ReLU rides on a Sum, which masks what it hands on, and does not give that") {
    Builder net;
    const int x = net.input(20), r = net.add("ReLU", {net.linear(x, 20)}), h = net.linear(x, 20), s = net.add("Sum", {r, h}), t = net.add("ReLU", {s});
    net.head(net.linear(t, 2));
    const Fusion f = fuse(net.plan);
    CHECK(running(f, 3)->carries_relu && f.notes[4] == "rides on op 3" && f.slot[size_t(s)] == f.slot[size_t(t)]);
    CHECK(slot_of(f, r).reader_masks && how(f, 3, 0) == How::written && how(f, 3, 1) == How::given);
}

TEST("a ReLU does not ride on what somebody else reads, nor on what is asked for, nor on an input") {
    Builder read;
    const int h = read.linear(read.input(3), 20), r = read.add("ReLU", {h});
    read.head(read.add("Sum", {r, h}));
    CHECK(!fuse(read.plan).ops[0].carries_relu && running(fuse(read.plan), 1));
    Builder asked;
    const int g = asked.linear(asked.input(3), 20);
    asked.head(asked.add("ReLU", {g}));
    asked.head(g);
    CHECK(!fuse(asked.plan).ops[0].carries_relu && running(fuse(asked.plan), 1));
    Builder input;
    input.head(input.linear(input.add("ReLU", {input.input(3)}), 2));
    CHECK(running(fuse(input.plan), 0) && !slot_of(fuse(input.plan), 1).is_relu);
}

TEST("one ReLU rides, a second one behind it does not") {
    Builder net;
    net.head(net.add("ReLU", {net.add("ReLU", {net.linear(net.input(3), 20)})}));
    const Fusion f = fuse(net.plan);
    CHECK(f.ops.size() == 2 && f.ops[0].carries_relu && running(f, 2));
}

TEST("a Tanh lies over a Linear's output, unless somebody else reads that") {
    Builder net;
    const int h = net.linear(net.input(3), 20), t = net.add("Tanh", {h});
    net.head(net.linear(t, 2));
    const Fusion f = fuse(net.plan);
    CHECK(f.slot[size_t(h)] == f.slot[size_t(t)] && f.notes[1] == "in place", "%s", f.notes[1].c_str());
    net.head(h);
    CHECK(fuse(net.plan).slot[size_t(h)] != fuse(net.plan).slot[size_t(t)]);
}

TEST("nothing lies over what a backward pass reads") {
    Builder silu;  // reads its x
    const int h = silu.linear(silu.input(3), 20), s = silu.add("SiLU", {h});
    silu.head(silu.linear(s, 2));
    CHECK(fuse(silu.plan).slot[size_t(h)] != fuse(silu.plan).slot[size_t(s)]);
    Builder tanhs;  // reads its y
    const int t = tanhs.add("Tanh", {tanhs.linear(tanhs.input(3), 20)}), u = tanhs.add("Tanh", {t});
    tanhs.head(tanhs.linear(u, 2));
    CHECK(fuse(tanhs.plan).slot[size_t(t)] != fuse(tanhs.plan).slot[size_t(u)]);
    Builder dropped;
    const int a = dropped.add("Tanh", {dropped.linear(dropped.input(3), 20)}), d = dropped.dropout(a, 0.5);
    dropped.head(dropped.linear(d, 2));
    CHECK(fuse(dropped.plan).slot[size_t(a)] != fuse(dropped.plan).slot[size_t(d)]);
}

TEST("Dropout behind a ReLU that rides shares its mask, which scales for both") {
    Builder net;
    const int r = net.add("ReLU", {net.linear(net.input(3), 20)}), d = net.dropout(r, 0.5);
    net.head(net.linear(d, 2));
    for (bool threaded : {false, true}) {
        const Fusion f = fuse(net.plan, threaded);
        CHECK(running(f, 2)->over_relu && f.slot[size_t(r)] == f.slot[size_t(d)] && slot_of(f, d).reader_masks);
        CHECK(slot_of(f, d).scale == 2, "%g", slot_of(f, d).scale);
        CHECK(f.notes[2] == "in place, with the ReLU's mask", "%s", f.notes[2].c_str());
    }
    net.head(r);
    CHECK(!running(fuse(net.plan), 2)->over_relu && slot_of(fuse(net.plan), r).scale == 1);
    Builder twice;
    const int one = twice.dropout(twice.add("ReLU", {twice.linear(twice.input(3), 20)}), 0.5), other = twice.dropout(one, 0.75);
    twice.head(twice.linear(other, 2));
    CHECK(running(fuse(twice.plan), 2)->over_relu && !running(fuse(twice.plan), 3)->over_relu, "a mask has one scale");
}

TEST("a skip: the last reader writes, the others add, and a Sum gives") {
    Builder net;
    const int h = net.linear(net.input(3), 20), t = net.add("Tanh", {net.linear(h, 20)}), s = net.add("Sum", {h, t});
    net.head(net.linear(s, 2));
    const Fusion f = fuse(net.plan);
    CHECK(how(f, 3, 0) == How::given && slot_of(f, h).gradient_of == f.slot[size_t(s)], "h's gradient is the Sum's own");
    CHECK(how(f, 1) == How::added, "to which the Linear of the body adds");
    // t's would be too, but the Tanh and the Linear change it before all have read it
    CHECK(how(f, 3, 1) == How::written && slot_of(f, t).gradient_of == -1);
    const Fusion g = fuse(net.plan, true);
    CHECK(how(g, 3, 0) == How::written && how(g, 3, 1) == How::written, "threads read gradients when all is done: nobody gives");
}

TEST("a Sum does not give to an input, nor twice to the same value, nor to what has a gradient already") {
    Builder input;
    const int x = input.input(20);
    input.head(input.add("Sum", {x, input.linear(x, 20)}));
    CHECK(how(fuse(input.plan), 1, 0) == How::written && how(fuse(input.plan), 1, 1) == How::given);
    Builder twice;
    const int h = twice.linear(twice.input(3), 20);
    twice.head(twice.add("Sum", {h, h}));
    CHECK(how(fuse(twice.plan), 1, 0) == How::written && how(fuse(twice.plan), 1, 1) == How::added);
    Builder asked;
    const int a = asked.linear(asked.input(3), 20);
    asked.head(a);
    asked.head(asked.add("Sum", {a, asked.linear(a, 20)}));
    CHECK(how(fuse(asked.plan), 2, 0) == How::added);
}

TEST("gradients take the place of values that nobody needs any more, but not with threads") {
    Builder net;
    const int r = net.add("ReLU", {net.linear(net.input(3), 20)}), y = net.linear(r, 20);
    net.head(y);
    const Fusion f = fuse(net.plan);
    CHECK(slot_of(f, r).gradient_over_value && running(f, 2)->dx_over_x && f.notes[2] == "dx over x", "%s", f.notes[2].c_str());
    CHECK(slot_of(f, y).gradient_over_value, "the loss writes dy over y");
    const Fusion g = fuse(net.plan, true);
    CHECK(!slot_of(g, r).gradient_over_value && !slot_of(g, y).gradient_over_value);
    net.head(net.linear(r, 20));
    CHECK(!slot_of(fuse(net.plan), r).gradient_over_value, "two read it");
    Builder tanh;
    const int t = tanh.add("Tanh", {tanh.linear(tanh.input(3), 20)});
    tanh.head(tanh.linear(t, 2));
    CHECK(!slot_of(fuse(tanh.plan), t).gradient_over_value, "a Tanh needs its y");
}

TEST("a gradient that only the inputs want is marked") {
    Builder net;
    const int x = net.input(20), z = net.input(20), t = net.add("Tanh", {x}), m = net.add("Multiply", {t, net.linear(z, 20)});
    net.head(m);
    const Fusion f = fuse(net.plan);
    CHECK(running(f, 0)->dx[0].input_only && running(f, 1)->dx[0].input_only);
    CHECK(running(f, 2)->dx[0].input_only && !running(f, 2)->dx[1].input_only);
}

TEST("before the first op that is trained nobody goes back, unless the inputs' gradients are asked for") {
    Builder net;
    const int x = net.input(3), h = net.add("Tanh", {net.linear(x, 20)}), g = net.add("ReLU", {net.linear(h, 20)});
    net.head(net.linear(g, 2));
    net.plan.rule_of = {-1, -1, 0, 0, -1, -1};
    const Fusion middle = fuse(net.plan);
    CHECK(running(middle, 0)->dx[0].input_only && running(middle, 1)->dx[0].input_only && running(middle, 2)->dx[0].input_only);
    CHECK(!running(middle, 4)->dx[0].input_only, "the last Linear is frozen, but the gradient goes through it");
    CHECK(!middle.goes_back(*running(middle, 0)) && !middle.goes_back(*running(middle, 1)));
    CHECK(middle.goes_back(*running(middle, 2)) && middle.goes_back(*running(middle, 4)));
    net.plan.rule_of = {-1, -1, -1, -1, -1, 0};
    const Fusion last = fuse(net.plan);
    for (int i : {0, 1, 2}) CHECK(!last.goes_back(*running(last, i)));
    CHECK(last.goes_back(*running(last, 4)) && running(last, 4)->dx[0].input_only);
    net.plan.rule_of.assign(6, -1);
    const Fusion none = fuse(net.plan);
    for (const FusedOp& op : none.ops) CHECK(!none.goes_back(op));
}

TEST("what leads nowhere does not run") {
    Builder net;
    const int x = net.input(3), h = net.linear(x, 20), dead = net.add("Tanh", {net.linear(h, 20)});
    net.head(net.add("ReLU", {h}));
    const Fusion f = fuse(net.plan);
    CHECK(f.slot[size_t(dead)] == -1 && f.notes[1] == "leads nowhere" && f.notes[2] == "leads nowhere");
    CHECK(f.ops.size() == 1 && f.ops[0].carries_relu, "it does not count as a reader either");
}

TEST("a ReLU rides on a Convolution, and a pool behind it masks, but an average or another Convolution does not") {
    const auto net = [](const char* reader) {
        Builder all;
        const int x = all.channels_last(all.input(12), 6), r = all.add("ReLU", {all.convolution(x, 4, {{6, 3}})});
        const bool pools = reader == std::string("MaxPool"), means = reader == std::string("Positions");
        const int y = pools ? all.max_pool(r, seen({{4, 2, 2}})) : means ? all.positions(r, seen({{4, 2, 2}})) : all.convolution(r, 4, {{4, 3}});
        all.head(all.channels_first(y));
        return all;
    };
    for (const char* reader : {"MaxPool", "Positions", "Convolution"})
        for (bool threaded : {false, true}) {
            const Builder all = net(reader);
            const Fusion f = fuse(all.plan, threaded);
            CHECK(running(f, 1)->carries_relu && f.notes[2] == "rides on op 1", "%s: %s", reader, f.notes[2].c_str());
            const Slot& slot = slot_of(f, all.plan.ops[2].output);
            CHECK(slot.is_relu && slot.reader_masks == (reader == std::string("MaxPool")) && !slot.gradient_over_value, "%s", reader);
        }
}

TEST("a residual block of images: the Sum gives its gradient to the skip, the Convolution before adds") {
    Builder net;
    const int x = net.convolution(net.channels_last(net.input(12), 6), 4, {{6}}), body = net.convolution(x, 4, {{6}}), s = net.add("Sum", {x, body});
    net.head(net.channels_first(s));
    const Fusion f = fuse(net.plan);
    CHECK(how(f, 3, 0) == How::given && how(f, 2) == How::added && slot_of(f, x).gradient_of == f.slot[size_t(s)]);
}

// ---- on random graphs

// What lies somewhere: a value of the plan, a gradient (a number that stands for it), or nothing that anybody may read.
struct Cell {
    int value = -1;
    std::optional<uint64_t> gradient;
};

// Gradients are numbers modulo 2⁶⁴: an op's dx is dy times a factor of its own, a mask is a factor too.
class Machine {
public:
    Machine(const Plan& plan, const Fusion& fusion, const std::vector<Manners>& manners)
        : plan_(plan), fusion_(fusion), manners_(manners), data_(fusion.slots.size()), gradients_(fusion.slots.size()),
          masks_(plan.values.size(), 1), wanted_(plan.values.size(), 0) {
        for (const Op& op : plan.ops)
            if (fusion.slot[size_t(op.output)] >= 0 && is_relu(op)) masks_[size_t(op.output)] = factor(op, 0);
        for (const FusedOp& op : fusion.ops)
            if (op.over_relu) masks_[size_t(of(op).output)] = masks_[size_t(of(op).inputs[0])] * slope(of(op), 0);
        find_what_is_wanted();
    }

    // Null: everybody read what the plan says.
    const char* run(bool wants_input, bool parameters_last) {
        wants_input_ = wants_input;
        wrong_ = nullptr;
        for (Cell& cell : data_) cell = {};
        for (Cell& cell : gradients_) cell = {};
        for (int v : plan_.inputs) data_[at(v)] = {v, {}};
        for (const FusedOp& op : fusion_.ops) forward(op);
        for (int v : plan_.outputs) {
            need(data_[at(v)].value == v, "an output is not there");
            gradient(at(v)) = {-1, seed_of(v)};
        }
        for (size_t n = fusion_.ops.size(); n-- > 0;)
            if (wants_input || fusion_.goes_back(fusion_.ops[n])) backward(fusion_.ops[n], !parameters_last);
        for (const FusedOp& op : fusion_.ops)
            if (parameters_last) parameters(op);
        for (int v : plan_.inputs)
            if (wants_input && gradient(at(v)).gradient) need(gradient(at(v)).gradient == wanted_[size_t(v)], "the gradient of an input");
        return wrong_;
    }

private:
    void need(bool holds, const char* otherwise) {
        if (!holds && !wrong_) wrong_ = otherwise;
    }
    const Op& of(const FusedOp& op) const { return plan_.ops[size_t(op.op)]; }
    const Manners& manner(const Op& op) const { return manners_[size_t(&op - plan_.ops.data())]; }
    bool trains(const FusedOp& op) const {
        const std::vector<int>& parameters = of(op).parameters;
        return std::any_of(parameters.begin(), parameters.end(), [&](int p) { return plan_.is_trained(p); });
    }
    bool is_relu(const Op& op) const { return manner(op).is_relu; }
    size_t at(int v) const { return size_t(fusion_.slot[size_t(v)]); }
    // What the op leaves in its slot: with a ReLU that rides on it, that one's output.
    int written_by(const FusedOp& op) const {
        if (op.carries_relu)
            for (const Op& relu : plan_.ops)
                if (is_relu(relu) && relu.inputs[0] == of(op).output && fusion_.slot[size_t(relu.output)] >= 0) return relu.output;
        return of(op).output;
    }
    Cell& gradient(size_t s) {
        if (fusion_.slots[s].gradient_over_value) return data_[s];
        const int of = fusion_.slots[s].gradient_of;
        if (of < 0) return gradients_[s];
        need(fusion_.slots[size_t(of)].gradient_of < 0, "memory that was given is given on");
        return fusion_.slots[size_t(of)].gradient_over_value ? data_[size_t(of)] : gradients_[size_t(of)];
    }

    static uint64_t mix(uint64_t a, uint64_t b) {
        uint64_t z = a * 0x9E3779B97F4A7C15 + b * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB;
        return ((z ^ (z >> 29)) * 0xD6E8FEB86659FD93) | 1;
    }
    uint64_t factor(const Op& op, size_t k) const { return mix(uint64_t(&op - plan_.ops.data()), k + 7); }
    static uint64_t seed_of(int v) { return mix(uint64_t(v), 1000); }
    // dx / dy
    uint64_t slope(const Op& op, size_t k) const {
        if (manner(op).passes_dy) return 1;
        return factor(op, k);
    }

    // By the plan alone.
    void find_what_is_wanted() {
        for (int v : plan_.outputs) wanted_[size_t(v)] += seed_of(v);
        for (size_t i = plan_.ops.size(); i-- > 0;) {
            const Op& op = plan_.ops[i];
            if (fusion_.slot[size_t(op.output)] < 0) continue;
            for (size_t k = 0; k < op.inputs.size(); ++k) wanted_[size_t(op.inputs[k])] += slope(op, k) * wanted_[size_t(op.output)];
        }
    }

    void forward(const FusedOp& op) {
        for (size_t k = 0; k < op.x.size(); ++k) need(data_[size_t(op.x[k])].value == of(op).inputs[k], "forward reads something else");
        need(std::count(op.x.begin(), op.x.end(), op.y) == 0 || manner(of(op)).works_in_place, "it cannot work in place");
        need(!op.carries_relu || manner(of(op)).carries_relu, "it cannot carry a ReLU");
        data_[size_t(op.y)] = {written_by(op), {}};
    }

    void parameters(const FusedOp& op) {
        if (!trains(op)) return;
        need(data_[size_t(op.x[0])].value == of(op).inputs[0], "a product reads another x");
        need(gradient(size_t(op.y)).gradient == wanted_[size_t(of(op).output)], "a product reads another dy");
    }

    void backward(const FusedOp& op, bool with_parameters) {
        const Slot& out = fusion_.slots[size_t(op.y)];
        if (op.carries_relu && !out.reader_masks) mask(gradient(size_t(op.y)), size_t(op.y));
        bool works = trains(op);
        for (const Coming& coming : op.dx) works = works || !coming.input_only || wants_input_;
        if (!works) return;
        const Cell dy = gradient(size_t(op.y));
        need(dy.gradient.has_value(), "there is no dy");
        if (!dy.gradient) return;
        if (with_parameters) parameters(op);
        if (manner(of(op)).reads_y) need(data_[size_t(op.y)].value == of(op).output, "backward reads another y");
        for (size_t k = 0; k < op.x.size(); ++k)
            if (manner(of(op)).reads_x) need(data_[size_t(op.x[k])].value == of(op).inputs[k], "backward reads another x");
        for (size_t k = 0; k < op.x.size(); ++k) {
            if (op.dx[k].input_only && !wants_input_) continue;
            const size_t s = size_t(op.x[k]);
            Cell& dx = gradient(s);
            const uint64_t mine = op.over_relu ? *dy.gradient : *dy.gradient * slope(of(op), k);  // there the mask does all
            if (int(s) == op.y) {
                dx.gradient = mine;
                continue;
            }
            switch (op.dx[k].how) {
                case How::given:
                    need(manner(of(op)).passes_dy && &dx == &gradient(size_t(op.y)), "nobody gave");
                    break;
                case How::added:
                    need(dx.gradient.has_value(), "added to nothing");
                    if (dx.gradient) *dx.gradient += mine;
                    break;
                case How::written: {
                    Cell result{-1, mine};
                    if (fusion_.slots[s].reader_masks) mask(result, s);
                    need(&dx != &data_[s] || op.dx_over_x, "it does not know that it writes over x");
                    dx = result;
                }
            }
        }
    }

    // By the numbers that lie in slot s.
    void mask(Cell& cell, size_t s) {
        if (!cell.gradient) return;  // nobody wants it
        need(data_[s].value >= 0, "there is nothing to mask by");
        if (data_[s].value >= 0) *cell.gradient *= masks_[size_t(data_[s].value)];
    }

    const Plan& plan_;
    const Fusion& fusion_;
    const std::vector<Manners>& manners_;
    std::vector<Cell> data_, gradients_;     // of the slots
    std::vector<uint64_t> masks_, wanted_;   // of the plan's values: what a mask by it multiplies by, its whole gradient
    bool wants_input_ = false;
    const char* wrong_ = nullptr;
};

std::string text_of(const Plan& plan) {
    std::string text;
    for (const Op& op : plan.ops) {
        text += "\n      " + op.settings.kind + " (";
        for (int v : op.inputs) (text += " ") += std::to_string(v);
        text += " ) -> " + std::to_string(op.output);
    }
    text += "\n      outputs";
    for (int v : plan.outputs) (text += " ") += std::to_string(v);
    return text;
}

TEST("on random graphs, everybody reads what the plan says") {
    int rides = 0, in_place = 0, over_relu = 0, given = 0, over_x = 0, added = 0, dead = 0;
    for (uint64_t seed = 0; seed < 26000; ++seed) {
        Drawing drawing;
        drawing.ops = 2 + int(seed % 20);
        if (seed >= 20000) drawing.positions = 16;
        Plan plan = settled(random_plan(seed, DType::float32, drawing), false);
        if (seed % 3 == 0)
            for (size_t p = 0; p < plan.parameters.size(); ++p) plan.rule_of.push_back(int((seed / 3 + p * p) % 3) - 1 < 0 ? -1 : 0);
        const std::vector<Manners> manners = manners_of(plan);
        for (bool threaded : {false, true}) {
            const Fusion fusion(plan, manners, threaded);
            for (const FusedOp& op : fusion.ops) {
                rides += op.carries_relu, over_relu += op.over_relu, over_x += op.dx_over_x;
                in_place += op.x[0] == op.y;
                for (const Coming& c : op.dx) given += c.how == How::given, added += c.how == How::added;
            }
            for (const std::string& note : fusion.notes) dead += note == "leads nowhere";
            for (bool wants_input : {false, true})
                for (bool parameters_last : {false, true}) {
                    if (parameters_last && !threaded) continue;
                    Machine machine(plan, fusion, manners);
                    const char* wrong = machine.run(wants_input, parameters_last);
                    CHECK(!wrong, "%s: seed %d, threaded %d, inputs' gradients %d, parameters last %d%s", wrong, int(seed), threaded,
                          wants_input, parameters_last, text_of(plan).c_str());
                    if (wrong) return;
                }
        }
    }
    for (int count : {rides, in_place, over_relu, given, over_x, added, dead}) CHECK(count > 500, "the graphs are too simple: %d", count);
}

}  // namespace

TEST_MAIN
