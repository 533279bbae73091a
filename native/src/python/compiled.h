// A network compiled from a plan, with the manners that Python expects: one thread at a time, no GIL during long work.
//
// Arrays of the epoch-level calls are typed arguments, checked here. The step-level calls (predict, forward, backward,
// step) read arrays through the buffer protocol instead, because converting an argument costs more than a small
// network's arithmetic; and a network with one input and one output looks for no tuples and dicts on its way.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../engine.h"
#include "form.h"
#include "home.h"
#include "plan.h"
#include "rows.h"

namespace chainrule {

using InputArray = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using OutputArray = nb::ndarray<nb::c_contig, nb::device::cpu>;
using Doubles = nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Indices = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

inline nb::dlpack::dtype dtype_of(DType dtype) { return dtype == DType::float32 ? nb::dtype<float>() : nb::dtype<double>(); }

using Described = nb::typed<nb::dict, nb::str, nb::object>;  // a plan as plain values

// Samples of many epochs: what the engine reads, and the arrays that it points into.
struct Data {
    Dataset view;
    std::vector<nb::object> kept;
};

class Compiled final : public Home {
public:
    Compiled(const Described& described, nb::object empty, nb::object dtype, Objects parameters, bool keeps_gradients)
        : Home(create(plan_of(described)), std::move(parameters), nb::borrow(empty(0, dtype).type()), keeps_gradients),
          reader(Py_TYPE(empty(0, dtype).ptr())), x_(described["x"]), y_(described["y"]), is_plain_(x_.is_one() && y_.is_one()),
          number_(plan().dtype), empty_(std::move(empty)), dtype_(std::move(dtype)) {
        for (const Op& op : plan().ops)
            for (const int p : op.parameters) {
                const ParameterShape& shape = plan().parameters[size_t(p)];
                flops_per_row_ += 2.0 * double(shape.size()) *
                                  double(plan().values[size_t(op.output)].positions);
            }
        lr.assign(plan().has_optimizer() ? plan().rules.size() : 1, 0.0);
        has_one_rate_ = lr.size() == 1;
        batch_.x.resize(x_.size());
        batch_.targets.resize(plan().heads.size());
        for (const Head& head : plan().heads)
            classes_.push_back({head.class_targets, head.class_targets ? int64_t(head.loss.number("ignore_index")) : -1});
    }

    // ---- numbers in and out, for who knows what is where

    void read(int i, OutputArray to, bool best) {
        check(i, to.dtype(), int64_t(to.size()));
        if (best) engine().read_best(i, to.data());
        else engine().read_parameter(i, to.data());
    }
    void write(int i, InputArray from, bool best) {
        check(i, from.dtype(), int64_t(from.size()));
        if (best) engine().write_best(i, from.data());
        else {
            refuse_if_busy();  // another thread's call may be reading it
            engine().write_parameter(i, from.data());
        }
    }
    void read_average(int i, OutputArray to) {
        check(i, to.dtype(), int64_t(to.size()));
        engine().read_average(i, to.data());
    }
    void write_average(int i, InputArray from) {
        check(i, from.dtype(), int64_t(from.size()));
        engine().write_average(i, from.data());
    }
    void write_state(int i, int k, InputArray from) {
        check(from.dtype(), int64_t(from.size()), engine().state_shape(i, k));
        engine().write_state(i, k, from.data());
    }
    // The parameters as they are now, with what was written in Python, are the best.
    void keep_best(int64_t epoch, double loss) {
        Turn turn(*this);
        engine().keep_best({epoch, loss});
        turn.done();
    }

    // ---- epochs

    // Arrays as a data set, in the plan's order, checked against it, so that no later call can read beyond them.
    // They may be a part of an epoch's rows: `before` of its `total` rows come first, and then these, or those that `order` names.
    Data data(Objects x, Objects targets, nb::object sample_weight, int64_t before, int64_t total, nb::object order) const {
        if (x.size() != x_.size() || targets.size() != plan().heads.size())
            throw nb::value_error("data: there must be an array for each input, and a target for each head");
        Data data;
        data.view.rows = -1;
        for (size_t i = 0; i < x.size(); ++i)
            data.view.x.push_back(numbers(data, x[i], std::string("x") + x_.place(i), x_.sample(i).size));
        for (size_t i = 0; i < targets.size(); ++i) {
            const std::string name = std::string("target") + y_.place(i);
            if (classes_[i].wanted) {
                Indices indices = indices_of(targets[i], name);
                require_rows(name.c_str(), "", int64_t(indices.size()), data.view.rows);
                data.view.targets.push_back(indices.data());
                data.kept.push_back(targets[i]);
            } else {
                data.view.targets.push_back(numbers(data, targets[i], name, y_.sample(i).size));
            }
        }
        if (!sample_weight.is_none())
            data.view.sample_weight = numbers(data, std::move(sample_weight), "sample_weight", 1);
        if (!order.is_none()) {
            const Indices rows = indices_of(order, "order");
            const auto is_there = [&](int64_t row) { return row >= 0 && row < data.view.rows; };
            if (total == 0 || !std::all_of(rows.data(), rows.data() + rows.size(), is_there))
                throw nb::value_error("data: order must hold rows of a part");
            data.view.rows = int64_t(rows.size());
            data.view.order = rows.data();
            data.kept.push_back(order);
        }
        if (before < 0 || (total ? before + data.view.rows > total : before > 0))
            throw nb::value_error("data: a part must lie within the whole");
        data.view.before = before;
        data.view.total = total;
        return data;
    }

    // What `run` and the queue are asked for, checked.
    Training training_of(const Data& data, const Data* validation, Doubles lr, Doubles momentum, bool lr_per_step, int64_t batch,
                         bool shuffle, uint64_t seed, int64_t first_epoch, int64_t end_epoch, double max_seconds,
                         bool keep_best, Doubles losses, Doubles validation_losses, Doubles head_losses,
                         Doubles validation_head_losses) const {
        const int64_t epochs = end_epoch - first_epoch;
        const int64_t step_rows = (batch > 0 ? batch : 1) * plan().accumulate, steps = (data.view.all() + step_rows - 1) / step_rows;
        const int64_t rates = epochs * (lr_per_step ? steps : 1) * int64_t(plan().rules.size());
        if (epochs < 1 || int64_t(losses.size()) < epochs || int64_t(lr.size()) < rates || (momentum.size() && int64_t(momentum.size()) < rates) ||
            (validation && int64_t(validation_losses.size()) < epochs) || !is_long_enough(head_losses, epochs) ||
            !is_long_enough(validation_head_losses, epochs))
            throw std::invalid_argument("run: lr or losses are too short for the epochs");
        Training training;
        training.batch = batch;
        training.shuffle = shuffle;
        training.seed = seed;
        training.lr = lr.data();
        training.momentum = momentum.size() ? momentum.data() : nullptr;
        training.lr_per_step = lr_per_step;
        training.first_epoch = first_epoch;
        training.end_epoch = end_epoch;
        training.max_seconds = max_seconds;
        training.losses = losses.data();
        training.validation = validation ? &validation->view : nullptr;
        training.validation_losses = validation ? validation_losses.data() : nullptr;
        training.head_losses = head_losses.size() ? head_losses.data() : nullptr;
        training.validation_head_losses = validation && validation_head_losses.size() ? validation_head_losses.data() : nullptr;
        training.keep_best = keep_best;
        return training;
    }

    std::string run(const Data& data, const Data* validation, Doubles lr, Doubles momentum, bool lr_per_step, int64_t batch, bool shuffle,
                    uint64_t seed, int64_t first_epoch, int64_t end_epoch, double max_seconds, bool keep_best,
                    Doubles losses, Doubles validation_losses, Doubles head_losses, Doubles validation_head_losses,
                    Position& position) {
        const Training training = training_of(data, validation, lr, momentum, lr_per_step, batch, shuffle, seed, first_epoch,
                                              end_epoch, max_seconds, keep_best, losses, validation_losses, head_losses,
                                              validation_head_losses);
        Turn turn(*this);
        Outcome outcome;
        {
            const LongWork release;
            outcome = engine().run(data.view, training, position);
        }
        turn.done();
        return text_of(outcome);
    }

    static const char* text_of(Outcome outcome) {
        return outcome == Outcome::finished ? "finished" : outcome == Outcome::interrupted ? "interrupted" : "not finite";
    }

    // ---- steps

    nb::object predict(nb::handle x, nb::handle out) {
        if (!is_plain_) return predict_several(x, out);
        Rows from(x, number_, x_.sample(0), "predict: x", false, &reader);
        nb::object y = out.is_none() ? fresh(y_.sample(0), from.rows, from.single()) : nb::borrow(out);
        Rows to(y, number_, y_.sample(0), "predict: out", true);
        require_rows("predict: out", "", to.rows, from.rows);
        if (to.overlaps(from)) throw nb::value_error("predict: out must not overlap x");
        const void* const xs[] = {from.data()};
        void* const ys[] = {to.data()};
        Turn turn(*this);
        if (shows_at(to.data(), to.bytes())) throw nb::value_error("predict: out must not be an array of the network's own");
        without_gil(double(from.rows), [&] { engine().predict(xs, from.rows, ys); });
        turn.done();
        return y;
    }

    // The outputs by the average of the parameters, which `run` has made.
    nb::object predict_by_average(nb::handle x) {
        const Several from(x_, x, number_, "predict: x", false, &reader);
        nb::object y = fresh(y_, from.rows(), from.single());
        const Several to(y_, y, number_, "predict: y", true);
        Turn turn(*this);
        without_gil(double(from.rows()), [&] { engine().predict_by_average(from.data(), from.rows(), to.data()); });
        turn.done();
        return y;
    }

    nb::object forward(nb::handle x, bool training) {
        if (!is_plain_) return forward_several(x, training);
        Rows from(x, number_, x_.sample(0), "forward: x", false, &reader);
        require_batch("forward", from.rows);
        nb::object y = fresh(y_.sample(0), from.rows, from.single());
        Rows to(y, number_, y_.sample(0), "forward: y", true);
        const void* const xs[] = {from.data()};
        void* const ys[] = {to.data()};
        Turn turn(*this);
        without_gil(double(from.rows), [&] { engine().forward(xs, from.rows, ys, training); });
        turn.done();
        return y;
    }

    nb::object backward(nb::handle dy, bool input) {
        if (!is_plain_) return backward_several(dy, input);
        Rows from(dy, number_, y_.sample(0), "backward: dy", false, &reader);
        const void* const dys[] = {from.data()};
        if (!input) {
            Turn turn(*this);
            without_gil(2.0 * double(from.rows), [&] { engine().backward(dys, from.rows, nullptr); });
            turn.done();
            return nb::none();
        }
        nb::object dx = fresh(x_.sample(0), from.rows, from.single());
        Rows to(dx, number_, x_.sample(0), "backward: dx", true);
        void* const dxs[] = {to.data()};
        Turn turn(*this);
        without_gil(3.0 * double(from.rows), [&] { engine().backward(dys, from.rows, dxs); });
        turn.done();
        return dx;
    }

    double step(nb::handle x, nb::handle target, nb::handle sample_weight) {
        if (!is_plain_ || classes_.empty() || !sample_weight.is_none()) return step_several(x, target, sample_weight);
        Rows from(x, number_, x_.sample(0), "step: x", false, &reader);
        const void* const xs[] = {from.data()};
        if (classes_[0].wanted) {
            Indices indices = indices_of(target, "step: target");
            check_indices(indices, from.rows, 0);
            const void* const targets[] = {indices.data()};
            return run_step(from.rows, xs, targets);
        }
        Rows wanted(target, number_, y_.sample(0), "step: target", false, &reader);
        require_rows("step: target", "", wanted.rows, from.rows);
        const void* const targets[] = {wanted.data()};
        return run_step(from.rows, xs, targets);
    }

    void update() {
        const auto by = [&](const Rates& rates) {
            Turn turn(*this);
            engine().update(rates);
            turn.done();
            return 0.0;
        };
        if (!has_one_rate_) return void(with_many_rates(by));
        const double rate = one_rate();
        by(Rates(rate));
    }
    void zero_gradients() {
        Turn turn(*this);
        engine().zero_gradients();
        turn.done();
    }

    // ---- what the optimizer in Python knows too

    // Of each rule its learning rate, and its momentum (none: as it was made with). next_rates is called before a step for what
    // takes their place: a list of learning rates, and then of momenta, if there are any; for one rule without momentum a
    // number. None: they are constant.
    void set_rates(std::vector<double> of_lr, std::vector<double> of_momentum, nb::object ask) {
        if (of_lr.size() != lr.size() || (!of_momentum.empty() && of_momentum.size() != lr.size()))
            throw std::invalid_argument("there must be rates for each rule");
        lr = std::move(of_lr), momentum = std::move(of_momentum), next_rates = std::move(ask);
        has_one_rate_ = lr.size() == 1 && momentum.empty();
        only_rate_ = lr[0];
    }
    std::vector<double> lr, momentum;
    nb::object next_rates;
    Reader reader;       // of the arrays that step-level calls get

    // Its count of steps, on which the engine goes on.
    void set_counter(nb::handle array) {
        counter_.reset(array);
        engine().count_updates_in(counter_.place());
    }

    static int traverse(PyObject* self, visitproc visit, void* arg) {
        Py_VISIT(Py_TYPE(self));
        if (!nb::inst_ready(self)) return 0;
        Compiled* c = nb::inst_ptr<Compiled>(self);
        for (const nb::object* o : {&c->next_rates, &c->empty_, &c->dtype_, &c->reader.read}) Py_VISIT(o->ptr());
        return c->Home::traverse(visit, arg);
    }
    static int clear(PyObject* self) {
        Compiled* c = nb::inst_ptr<Compiled>(self);
        c->next_rates.reset();
        c->reader.read.reset();
        c->Home::clear();
        return 0;
    }

private:
    static std::unique_ptr<Engine> create(const Plan& plan) {
        try {
            return chainrule_engine.create(plan);
        } catch (const std::length_error& error) {  // more memory than the limit, or than can be counted
            PyErr_SetString(PyExc_MemoryError, error.what());
            throw nb::python_error();
        }
    }

    // ---- several arrays: the same calls, for which tuples and dicts are looked through; and steps with weights

    [[gnu::noinline]] nb::object predict_several(nb::handle x, nb::handle out) {
        const Several from(x_, x, number_, "predict: x", false, &reader);
        nb::object y = out.is_none() ? fresh(y_, from.rows(), from.single()) : nb::borrow(out);
        const Several to(y_, y, number_, "predict: out", true);
        require_rows("predict: out", "", to.rows(), from.rows());
        for (const auto& part : to.parts())
            for (const Several* all : {&from, &to})
                for (const auto& other : all->parts())
                    if (&part != &other && part->overlaps(*other)) throw nb::value_error("predict: out must not overlap x, nor itself");
        Turn turn(*this);
        for (const auto& part : to.parts())
            if (shows_at(part->data(), part->bytes())) throw nb::value_error("predict: out must not be an array of the network's own");
        without_gil(double(from.rows()), [&] { engine().predict(from.data(), from.rows(), to.data()); });
        turn.done();
        return y;
    }
    [[gnu::noinline]] nb::object forward_several(nb::handle x, bool training) {
        const Several from(x_, x, number_, "forward: x", false, &reader);
        require_batch("forward", from.rows());
        nb::object y = fresh(y_, from.rows(), from.single());
        const Several to(y_, y, number_, "forward: y", true);
        Turn turn(*this);
        without_gil(double(from.rows()), [&] { engine().forward(from.data(), from.rows(), to.data(), training); });
        turn.done();
        return y;
    }
    [[gnu::noinline]] nb::object backward_several(nb::handle dy, bool input) {
        const Several from(y_, dy, number_, "backward: dy", false, &reader);
        if (!input) {
            Turn turn(*this);
            without_gil(2.0 * double(from.rows()), [&] { engine().backward(from.data(), from.rows(), nullptr); });
            turn.done();
            return nb::none();
        }
        nb::object dx = fresh(x_, from.rows(), from.single());
        const Several to(x_, dx, number_, "backward: dx", true);
        Turn turn(*this);
        without_gil(3.0 * double(from.rows()), [&] { engine().backward(from.data(), from.rows(), to.data()); });
        turn.done();
        return dx;
    }
    [[gnu::noinline]] double step_several(nb::handle x, nb::handle target, nb::handle sample_weight) {
        const Several from(x_, x, number_, "step: x", false, &reader);
        y_.require(target, "step: target");
        std::vector<std::optional<Rows>> wanted(classes_.size());
        std::vector<Indices> indices(classes_.size());
        std::vector<const void*> targets(classes_.size());
        for (size_t i = 0; i < classes_.size(); ++i) {
            const nb::object part = y_.part(target, i);
            if (classes_[i].wanted) {
                indices[i] = indices_of(part, std::string("step: target") + y_.place(i));
                check_indices(indices[i], from.rows(), i);
                targets[i] = indices[i].data();
                continue;
            }
            const Rows& rows = wanted[i].emplace(part, number_, y_.sample(i), "step: target", false, &reader, y_.place(i));
            require_rows("step: target", y_.place(i), rows.rows, from.rows());
            targets[i] = rows.data();
        }
        if (sample_weight.is_none()) return run_step(from.rows(), from.data(), targets.data());
        const Rows weights(sample_weight, number_, Sample{}, "step: sample_weight", false, &reader);
        require_rows("step: sample_weight", "", weights.rows, from.rows());
        if (number_ == DType::float32) check_weights(static_cast<const float*>(weights.data()), weights.rows);
        else check_weights(static_cast<const double*>(weights.data()), weights.rows);
        return run_step(from.rows(), from.data(), targets.data(), weights.data());
    }

    // ---- helpers

    // A table of the losses of each head after each epoch; an empty one is not wanted.
    bool is_long_enough(const Doubles& losses, int64_t epochs) const {
        return losses.size() == 0 || int64_t(losses.size()) >= epochs * int64_t(classes_.size());
    }
    template <class Work>
    void without_gil(double rows, Work work) {
        // Giving the GIL away costs more than a tiny step takes.
        if (rows * flops_per_row_ < 20000) work();
        else {
            const LongWork release;
            work();
        }
    }
    // Rates come before the numbers: asking for them runs Python, where those may be changed. And they stay as they are in the
    // step, whatever is set meanwhile.
    double run_step(int64_t rows, const void* const* x, const void* const* targets, const void* sample_weight = nullptr) {
        require_batch("step", rows);
        if (!has_one_rate_) return with_many_rates([&](const Rates& rates) { return step_by(rates, rows, x, targets, sample_weight); });
        const double rate = one_rate();
        return step_by(Rates(rate), rows, x, targets, sample_weight);
    }
    double step_by(const Rates& rates, int64_t rows, const void* const* x, const void* const* targets, const void* sample_weight) {
        Turn turn(*this);
        batch_.rows = rows;  // within the turn, in which the network is ours
        for (size_t i = 0; i < batch_.x.size(); ++i) batch_.x[i] = x[i];
        for (size_t i = 0; i < batch_.targets.size(); ++i) batch_.targets[i] = targets[i];
        batch_.sample_weight = sample_weight;
        double loss = 0;
        without_gil(3.0 * double(rows), [&] { loss = engine().step(batch_, rates); });
        turn.done();
        return loss;
    }
    [[gnu::always_inline]] inline double one_rate() { return next_rates.is_valid() && !next_rates.is_none() ? asked_rate() : only_rate_; }
    [[gnu::noinline]] double asked_rate() { return nb::cast<double>(next_rates()); }
    template <class Work>
    [[gnu::noinline]] double with_many_rates(Work work) {
        const bool asks = next_rates.is_valid() && !next_rates.is_none();
        std::vector<double> rates = asks ? nb::cast<std::vector<double>>(next_rates()) : lr;
        if (!asks) rates.insert(rates.end(), momentum.begin(), momentum.end());
        const bool with_momentum = rates.size() == 2 * lr.size();
        if (!with_momentum && rates.size() != lr.size()) throw std::invalid_argument("there must be rates for each rule");
        return work(Rates(rates.data(), with_momentum ? rates.data() + lr.size() : nullptr));
    }

    void check(int i, nb::dlpack::dtype dtype, int64_t size) const {
        if (i < 0 || size_t(i) >= plan().parameters.size()) throw std::out_of_range("there is no such parameter");
        check(dtype, size, plan().parameters[size_t(i)]);
    }
    void check(nb::dlpack::dtype dtype, int64_t size, const ParameterShape& shape) const {
        if (dtype != dtype_of(number_)) throw nb::type_error((std::string("must be ") + name_of(number_)).c_str());
        if (size != shape.size()) throw nb::value_error("a parameter changed its shape");
    }
    static void require_rows(const char* name, const char* place, int64_t rows, int64_t rows_of_x) {
        if (rows != rows_of_x) [[unlikely]]
            throw nb::value_error((std::string(name) + place + " must have as many rows as x, " + std::to_string(rows_of_x) +
                                   ", got " + std::to_string(rows)).c_str());
    }
    void require_batch(const char* call, int64_t rows) const {
        if (rows > plan().batch) [[unlikely]]
            throw nb::value_error((std::string(call) + ": x must have at most " + std::to_string(plan().batch) +
                                   " rows, the batch_size that it was compiled for, got " + std::to_string(rows)).c_str());
    }
    // What `fit` asks of the weights of a batch, which may all be 0: finite, none below 0.
    template <class T>
    static void check_weights(const T* weight, int64_t rows) {
        for (int64_t r = 0; r < rows; ++r) {
            if (!(weight[r] >= 0) || std::isinf(weight[r])) {
                const char* const expected = weight[r] < 0 ? "not be negative" : "be finite";
                const std::string got = nb::cast<std::string>(nb::repr(nb::float_(double(weight[r]))));
                throw nb::value_error(("step: sample_weight must " + std::string(expected) + ", got " + got + " at position " +
                                       std::to_string(r)).c_str());
            }
        }
    }
    void check_indices(const Indices& indices, int64_t rows, size_t head) const {
        const int64_t n = y_.sample(head).size, ignored = classes_[head].ignored;
        const auto refuse = [&](const std::string& what) {
            throw nb::value_error((std::string("step: target") + y_.place(head) + " must " + what).c_str());
        };
        require_rows("step: target", y_.place(head), int64_t(indices.size()), rows);
        for (size_t i = 0; i < indices.size(); ++i) {
            const int64_t c = indices.data()[i];
            if ((c < 0 || c >= n) && c != ignored)
                refuse("be in 0 … " + std::to_string(n - 1) + ", got " + std::to_string(c) + " at position " + std::to_string(i));
        }
    }
    // The numbers of an array of a data set: its first array says how many rows there are.
    const void* numbers(Data& data, nb::object array, const std::string& name, int64_t columns) const {
        InputArray numbers;
        if (!nb::try_cast(array, numbers, false)) throw nb::type_error((name + " must be a C-contiguous array").c_str());
        if (numbers.dtype() != dtype_of(number_)) throw nb::type_error((name + " must be " + name_of(number_)).c_str());
        if (numbers.ndim() < 1) throw nb::value_error((name + " must have rows").c_str());
        if (data.view.rows < 0) data.view.rows = int64_t(numbers.shape(0));
        require_rows(name.c_str(), "", int64_t(numbers.shape(0)), data.view.rows);
        if (int64_t(numbers.size()) != data.view.rows * columns)
            throw nb::value_error((name + " must have " + std::to_string(columns) + " numbers for each row, got " +
                                   std::to_string(numbers.size()) + " for " + std::to_string(data.view.rows)).c_str());
        data.kept.push_back(std::move(array));
        return numbers.data();
    }
    nb::object fresh(const Sample& sample, int64_t rows, bool single) const {
        if (sample.shape.size() != 1) return empty_(sample.shape_of(rows, single), dtype_);
        return single ? empty_(sample.size, dtype_) : empty_(nb::make_tuple(rows, sample.size), dtype_);
    }
    nb::object fresh(const Form& form, int64_t rows, bool single) const {
        std::vector<nb::object> arrays;
        for (size_t i = 0; i < form.size(); ++i) arrays.push_back(fresh(form.sample(i), rows, single));
        return form.build(arrays);
    }
    // Class indices in place: a conversion would cut floats, and would not outlive the call.
    Indices indices_of(nb::handle target, const std::string& name) const {
        Indices indices;
        const bool plain = reader.is_plain(target) && nb::try_cast(target, indices, false);
        if (!plain && !(reader.reads() && nb::try_cast(reader.indices(target, name.c_str()), indices, false)))
            throw nb::type_error((name + " must hold class indices, a contiguous int64 array (batch,)").c_str());
        return indices;
    }
    nb::object self() const override { return nb::find(this); }
    nb::object empty(nb::handle shape) const override { return empty_(shape, dtype_); }

    struct Classes {
        bool wanted;      // whether the targets of a head are class indices
        int64_t ignored;  // and which of them counts nothing
    };
    Form x_, y_;
    std::vector<Classes> classes_;  // of each head
    bool is_plain_;  // one array in, one out
    bool has_one_rate_ = true;  // one rule, whose momentum is its own:
    double only_rate_ = 0;      // lr[0], at hand
    DType number_;
    Dataset batch_;             // of the step that is being made
    nb::object empty_, dtype_;  // numpy.empty, and the dtype that it is asked for
    Counter counter_;
    double flops_per_row_ = 0;
};

}  // namespace chainrule
