// The border to Python: only this file and python/ know it. One module per instruction set is compiled from this file and
// engine.cpp; chainrule.engine.native imports the one that the CPU can run.
//
// Arrays of the epoch-level calls are typed arguments, checked here. The step-level calls (predict, forward, backward,
// step) read arrays through the buffer protocol instead, because converting an argument costs more than a small
// network's arithmetic.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cstdlib>
#include <cstring>
#include <unordered_map>

#include "engine.h"
#include "python/home.h"
#include "queue.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace chainrule {
namespace {

using InputArray = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using OutputArray = nb::ndarray<nb::c_contig, nb::device::cpu>;
using Doubles = nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Indices = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

nb::dlpack::dtype dtype_of(DType dtype) {
    return dtype == DType::float32 ? nb::dtype<float>() : nb::dtype<double>();
}

struct Data {
    Dataset view;
    std::vector<nb::object> kept;  // the arrays that the view points into
};

// A network compiled from a plan, with the manners that Python expects: one thread at a time, no GIL during long work.
class Compiled final : public Home {
public:
    Compiled(const Plan& plan, nb::object empty, nb::object dtype, Objects parameters, bool keeps_gradients)
        : Home(create(plan), std::move(parameters), nb::borrow(empty(0, dtype).type()), keeps_gradients),
          reader(Py_TYPE(empty(0, dtype).ptr())), plan_(plan), empty_(std::move(empty)), dtype_(std::move(dtype)) {
        double flops = 0;
        for (const ParameterShape& p : plan.parameters) flops += 2.0 * double(p.n_out) * double(p.n_in > 0 ? p.n_in : 1);
        flops_per_row_ = flops;
        n_out_ = engine().n_out();
        if (plan.class_targets) ignored_ = int64_t(plan.loss.number("ignore_index"));
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

    int64_t n_out() const { return n_out_; }

    // -- numbers in and out, for who knows what is where

    void read(int i, OutputArray to, bool best) {
        check(i, to.dtype(), int64_t(to.size()));
        if (best) engine().read_best(i, to.data());
        else engine().read_parameter(i, to.data());
    }
    void write(int i, InputArray from, bool best) {
        check(i, from.dtype(), int64_t(from.size()));
        if (best) engine().write_best(i, from.data());
        else engine().write_parameter(i, from.data());
    }
    void write_state(int i, int k, InputArray from) {
        check(i, from.dtype(), int64_t(from.size()));
        engine().write_state(i, k, from.data());
    }
    // The parameters as they are now, with what was written in Python, are the best.
    void keep_best(int64_t epoch, double loss) {
        Turn turn(*this);
        engine().keep_best({epoch, loss});
        turn.done();
    }

    // -- epochs

    // Arrays as a data set, checked against the plan, so that no later call can read beyond them.
    Data data(nb::object x, nb::object target, nb::object sample_weight) const {
        Data data;
        data.view.x = numbers(data, x, "x", -1, plan_.n_in);
        const int64_t rows = data.view.rows;
        if (plan_.class_targets) {
            Indices indices = indices_of(target, "target");
            if (int64_t(indices.size()) != rows) throw nb::value_error("target must have as many rows as x");
            data.view.indices = indices.data();
            data.kept.push_back(target);
        } else {
            data.view.target = numbers(data, target, "target", rows, n_out_);
        }
        if (!sample_weight.is_none()) data.view.sample_weight = numbers(data, sample_weight, "sample_weight", rows, 1);
        return data;
    }

    // What `run` and the queue are asked for, checked.
    Training training_of(const Data& data, const Data* validation, Doubles lr, bool lr_per_step, int64_t batch,
                         bool shuffle, uint64_t seed, int64_t first_epoch, int64_t end_epoch, double max_seconds,
                         bool keep_best, Doubles losses, Doubles validation_losses) const {
        const int64_t epochs = end_epoch - first_epoch;
        const int64_t steps = (data.view.rows + batch - 1) / (batch > 0 ? batch : 1);
        if (epochs < 1 || int64_t(losses.size()) < epochs || int64_t(lr.size()) < epochs * (lr_per_step ? steps : 1) ||
            (validation && int64_t(validation_losses.size()) < epochs))
            throw std::invalid_argument("run: lr or losses are too short for the epochs");
        Training training;
        training.batch = batch;
        training.shuffle = shuffle;
        training.seed = seed;
        training.lr = lr.data();
        training.lr_per_step = lr_per_step;
        training.first_epoch = first_epoch;
        training.end_epoch = end_epoch;
        training.max_seconds = max_seconds;
        training.losses = losses.data();
        training.validation = validation ? &validation->view : nullptr;
        training.validation_losses = validation ? validation_losses.data() : nullptr;
        training.keep_best = keep_best;
        return training;
    }

    std::string run(const Data& data, const Data* validation, Doubles lr, bool lr_per_step, int64_t batch, bool shuffle,
                    uint64_t seed, int64_t first_epoch, int64_t end_epoch, double max_seconds, bool keep_best,
                    Doubles losses, Doubles validation_losses, Position& position, nb::object seconds) {
        Training training = training_of(data, validation, lr, lr_per_step, batch, shuffle, seed, first_epoch, end_epoch,
                                        max_seconds, keep_best, losses, validation_losses);
        if (!seconds.is_none()) {
            Doubles times = nb::cast<Doubles>(seconds);
            if (int64_t(times.size()) < end_epoch - first_epoch) throw std::invalid_argument("run: seconds is too short for the epochs");
            training.seconds = times.data();
        }
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

    std::tuple<double, double> evaluate(const Data& data, nb::object y) {
        void* to = nullptr;
        if (!y.is_none()) {
            OutputArray array = nb::cast<OutputArray>(y);
            if (array.dtype() != dtype_of(plan_.dtype) || int64_t(array.size()) != data.view.rows * n_out_)
                throw std::invalid_argument("evaluate: y does not fit");
            to = array.data();
        }
        Turn turn(*this);
        LossSum loss;
        {
            const LongWork release;
            loss = engine().evaluate(data.view, to);
        }
        turn.done();
        return {loss.sum, loss.denominator};
    }

    // -- steps

    nb::object predict(nb::handle x, nb::handle out) {
        Rows from(x, plan_.dtype, plan_.n_in, "predict: x", false, &reader);
        nb::object y = out.is_none() ? fresh(from) : nb::borrow(out);
        Rows to(y, plan_.dtype, n_out_, "predict: out", true);
        if (to.rows != from.rows) throw nb::value_error("predict: out must have as many rows as x");
        if (to.overlaps(from)) throw nb::value_error("predict: out must not overlap x");
        Turn turn(*this);
        if (shows_at(to.data(), to.bytes())) throw nb::value_error("predict: out must not be an array of the network's own");
        without_gil(double(from.rows), [&] { engine().predict(from.data(), from.rows, to.data()); });
        turn.done();
        return y;
    }

    nb::object forward(nb::handle x, bool training) {
        Rows from(x, plan_.dtype, plan_.n_in, "forward: x", false, &reader);
        nb::object y = fresh(from);
        Rows to(y, plan_.dtype, n_out_, "forward: y", true);
        Turn turn(*this);
        without_gil(double(from.rows), [&] { engine().forward(from.data(), from.rows, to.data(), training); });
        turn.done();
        return y;
    }

    nb::object backward(nb::handle dy, bool input) {
        Rows from(dy, plan_.dtype, n_out_, "backward: dy", false, &reader);
        if (!input) {
            Turn turn(*this);
            without_gil(2.0 * double(from.rows), [&] { engine().backward(from.data(), from.rows, nullptr); });
            turn.done();
            return nb::none();
        }
        nb::object dx = from.single() ? empty_(plan_.n_in, dtype_) : empty_(nb::make_tuple(from.rows, plan_.n_in), dtype_);
        Rows to(dx, plan_.dtype, plan_.n_in, "backward: dx", true);
        Turn turn(*this);
        without_gil(3.0 * double(from.rows), [&] { engine().backward(from.data(), from.rows, to.data()); });
        turn.done();
        return dx;
    }

    double step(nb::handle x, nb::handle target) {
        Rows from(x, plan_.dtype, plan_.n_in, "step: x", false, &reader);
        Dataset batch;
        batch.rows = from.rows;
        batch.x = from.data();
        if (plan_.class_targets) {
            Indices indices = indices_of(target, "step: target");
            if (int64_t(indices.size()) != from.rows) throw nb::value_error("step: target must have as many rows as x");
            check_indices(indices);
            batch.indices = indices.data();
            return run_step(batch);
        }
        Rows wanted(target, plan_.dtype, n_out_, "step: target", false, &reader);
        if (wanted.rows != from.rows) throw nb::value_error("step: target must have as many rows as x");
        batch.target = wanted.data();
        return run_step(batch);
    }

    void update() {
        const double rate = current_lr();
        Turn turn(*this);
        engine().update(rate);
        turn.done();
    }
    void zero_gradients() {
        Turn turn(*this);
        engine().zero_gradients();
        turn.done();
    }

    // -- what the optimizer in Python knows too

    nb::object next_lr;  // called before a step for its learning rate; None: `lr` is constant
    double lr = 0;
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
        for (const nb::object* o : {&c->next_lr, &c->empty_, &c->dtype_, &c->reader.read}) Py_VISIT(o->ptr());
        return c->Home::traverse(visit, arg);
    }
    static int clear(PyObject* self) {
        Compiled* c = nb::inst_ptr<Compiled>(self);
        c->next_lr.reset();
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
    void check(int i, nb::dlpack::dtype dtype, int64_t size) const {
        if (i < 0 || size_t(i) >= plan_.parameters.size()) throw std::out_of_range("there is no such parameter");
        const ParameterShape& shape = plan_.parameters[size_t(i)];
        if (dtype != dtype_of(plan_.dtype)) throw nb::type_error((std::string("must be ") + name_of(plan_.dtype)).c_str());
        if (size != shape.n_out * (shape.n_in > 0 ? shape.n_in : 1)) throw nb::value_error("a parameter changed its shape");
    }
    void check_indices(const Indices& indices) const {
        for (size_t i = 0; i < indices.size(); ++i) {
            const int64_t c = indices.data()[i];
            if ((c < 0 || c >= n_out_) && c != ignored_)
                throw nb::value_error(("step: target must be in 0 … " + std::to_string(n_out_ - 1) + ", got " +
                                       std::to_string(c) + " at position " + std::to_string(i)).c_str());
        }
    }
    const void* numbers(Data& data, nb::object array, const char* name, int64_t rows, int64_t columns) const {
        InputArray numbers;
        if (!nb::try_cast(array, numbers, false))
            throw nb::type_error((std::string(name) + " must be a C-contiguous array").c_str());
        if (numbers.dtype() != dtype_of(plan_.dtype))
            throw nb::type_error((std::string(name) + " must be " + name_of(plan_.dtype)).c_str());
        if (numbers.ndim() < 1) throw nb::value_error((std::string(name) + " must have rows").c_str());
        const int64_t found = int64_t(numbers.shape(0));
        if ((rows >= 0 && found != rows) || int64_t(numbers.size()) != found * columns)
            throw nb::value_error((std::string(name) + " does not fit the network").c_str());
        if (rows < 0) data.view.rows = found;
        data.kept.push_back(std::move(array));
        return numbers.data();
    }
    nb::object fresh(const Rows& x) const {
        return x.single() ? empty_(n_out_, dtype_) : empty_(nb::make_tuple(x.rows, n_out_), dtype_);
    }
    // Class indices in place: a conversion would cut floats, and would not outlive the call.
    Indices indices_of(nb::handle target, const char* name) const {
        Indices indices;
        const bool plain = reader.is_plain(target) && nb::try_cast(target, indices, false);
        if (!plain && !(reader.reads() && nb::try_cast(reader.indices(target, name), indices, false)))
            throw nb::type_error((std::string(name) + " must hold class indices, a contiguous int64 array (batch,)").c_str());
        return indices;
    }
    double current_lr() { return next_lr.is_valid() && !next_lr.is_none() ? nb::cast<double>(next_lr()) : lr; }
    double run_step(const Dataset& batch) {
        const double rate = current_lr();  // before the numbers: asking for it runs Python, where they may be changed
        Turn turn(*this);
        double loss = 0;
        without_gil(3.0 * double(batch.rows), [&] { loss = engine().step(batch, rate); });
        turn.done();
        return loss;
    }
    nb::object self() const override { return nb::find(this); }
    nb::object empty(nb::handle shape) const override { return empty_(shape, dtype_); }

    Plan plan_;
    nb::object empty_, dtype_;  // numpy.empty, and the dtype that it is asked for
    Counter counter_;
    double flops_per_row_ = 0;
    int64_t n_out_ = 0, ignored_ = 0;
};

// Who uses a network holds one of these; when it goes, the numbers go back to Python, and the network's memory with them.
// The end of an object of Python's must run nothing of Python's: an exception there would be lost.
class Lease {
public:
    explicit Lease(nb::object compiled) : compiled_(std::move(compiled)) {}
    Lease(const Lease&) = delete;
    ~Lease() { end(); }

    static int traverse(PyObject* self, visitproc visit, void* arg) {
        Py_VISIT(Py_TYPE(self));
        if (nb::inst_ready(self)) Py_VISIT(nb::inst_ptr<Lease>(self)->compiled_.ptr());
        return 0;
    }
    static int clear(PyObject* self) {
        nb::inst_ptr<Lease>(self)->end();
        return 0;
    }

private:
    void end() {
        if (!compiled_.is_valid()) return;
        const nb::error_scope pending;
        try {
            Compiled& home = nb::cast<Compiled&>(compiled_);
            home.give_state();
            home.release();
        } catch (...) {
            PyErr_Clear();  // they stay where they are, and are found there
        }
        compiled_.reset();
    }
    nb::object compiled_;
};

// Compiled networks, trained side by side: queue.h, and everything of Python's that its runs need, kept until they end.
class PythonQueue {
public:
    explicit PythonQueue(int threads) : queue_(std::make_unique<Queue>(threads)) {}
    ~PythonQueue() {
        if (is_inherited()) (void)queue_.release();  // its threads are not there, and would be waited for
    }

    int64_t submit(nb::object compiled, nb::object data, nb::object validation, Doubles lr, bool lr_per_step,
                   int64_t batch, bool shuffle, uint64_t seed, int64_t first_epoch, int64_t end_epoch,
                   double max_seconds, bool keep_best, Doubles losses, Doubles validation_losses, nb::object position,
                   int64_t patience, double min_delta) {
        Compiled& network = nb::cast<Compiled&>(compiled);
        const Data& samples = nb::cast<const Data&>(data);
        const Data* held_out = validation.is_none() ? nullptr : &nb::cast<const Data&>(validation);
        Queue::Run run;
        run.training = network.training_of(samples, held_out, lr, lr_per_step, batch, shuffle, seed, first_epoch, end_epoch,
                                           max_seconds, keep_best, losses, validation_losses);
        if (patience > 0 && first_epoch != 0)
            throw std::invalid_argument("submit: an early stop needs the losses from epoch 0 on");
        refuse_if_inherited();
        run.engine = &network.engine();
        run.data = &samples.view;
        run.early = {patience, min_delta};
        run.position = &nb::cast<Position&>(position);
        network.lend();
        int64_t number = 0;
        try {
            number = queue_->submit(run);
        } catch (...) {  // the system has no thread at all
            network.take_back();
            throw;
        }
        kept_.emplace(number, Kept{&network, {compiled, data, validation, position},
                                   {lr, losses, validation_losses}});
        return number;
    }

    std::vector<std::tuple<int64_t, std::string, double, std::string>> wait(double seconds) {
        refuse_if_inherited();
        std::vector<Queue::Ended> ended;
        {
            const WithoutGil release;
            ended = queue_->wait(seconds);
        }
        std::vector<std::tuple<int64_t, std::string, double, std::string>> result;
        for (Queue::Ended& run : ended) {
            give_back(run.number);
            result.emplace_back(run.number, Compiled::text_of(run.outcome), run.seconds, std::move(run.error));
        }
        return result;
    }

    void stop() {
        if (!is_inherited()) queue_->stop();
    }

    // Ends all runs before their next step, and returns when every network has been given back.
    void close() {
        stop();
        while (!kept_.empty() && !is_inherited()) {
            std::vector<Queue::Ended> ended;
            {
                const WithoutGil release;
                ended = queue_->wait(1.0);
            }
            for (const Queue::Ended& run : ended) give_back(run.number);
        }
    }

private:
    struct Kept {
        Compiled* compiled;
        std::vector<nb::object> objects;
        std::vector<Doubles> arrays;
    };
    bool is_inherited() const { return generation_ != Process::generation(); }
    void refuse_if_inherited() const {
        if (is_inherited()) throw std::runtime_error("fit_many began before this process was forked; its threads are in the other one");
    }
    void give_back(int64_t number) {
        const auto kept = kept_.find(number);
        if (kept == kept_.end()) return;
        Compiled& network = *kept->second.compiled;
        network.take_back();
        kept_.erase(kept);
    }

    int generation_ = Process::generation();
    std::unordered_map<int64_t, Kept> kept_;
    std::unique_ptr<Queue> queue_;  // last, so that its threads end before what they work on
};

PyType_Slot lease_slots[] = {{Py_tp_traverse, (void*)Lease::traverse}, {Py_tp_clear, (void*)Lease::clear}, {0, nullptr}};
PyType_Slot compiled_slots[] = {{Py_tp_traverse, (void*)Compiled::traverse}, {Py_tp_clear, (void*)Compiled::clear}, {0, nullptr}};

}  // namespace

Home* Home::holder_of(nb::handle home) {
    return nb::isinstance<Compiled>(home) ? nb::inst_ptr<Compiled>(home) : nullptr;
}

}  // namespace chainrule

#define CHAINRULE_CONCAT_(a, b) a##b
#define CHAINRULE_CONCAT(a, b) CHAINRULE_CONCAT_(a, b)

// CHAINRULE_MODULE is the name that the build gives this instruction set's module.
NB_MODULE(CHAINRULE_MODULE, m) {
    using namespace chainrule;
    m.doc() = "The native engine for one instruction set. chainrule.engine is its Python face.";
    Process::watch_forks();
    m.attr("instruction_set") = chainrule_engine.instruction_set;
    // A daemon thread that uses a network when the program ends leaves it behind, which nanobind would take for a
    // mistake of ours, and print pages of it. The tests, which look for such mistakes, ask for the pages.
    nb::set_leak_warnings(std::getenv("CHAINRULE_LEAK_WARNINGS") != nullptr);

    nb::enum_<DType>(m, "DType").value("float32", DType::float32).value("float64", DType::float64);

    nb::enum_<ActivationKind>(m, "ActivationKind")
        .value("ReLU", ActivationKind::ReLU)
        .value("LeakyReLU", ActivationKind::LeakyReLU)
        .value("ELU", ActivationKind::ELU)
        .value("Tanh", ActivationKind::Tanh)
        .value("Sigmoid", ActivationKind::Sigmoid)
        .value("SiLU", ActivationKind::SiLU)
        .value("GELU", ActivationKind::GELU)
        .value("Softplus", ActivationKind::Softplus)
        .value("Softmax", ActivationKind::Softmax)
        .value("LogSoftmax", ActivationKind::LogSoftmax);
    nb::class_<Activation>(m, "Activation")
        .def(nb::init<>())
        .def_rw("kind", &Activation::kind)
        .def_rw("negative_slope", &Activation::negative_slope)
        .def_rw("alpha", &Activation::alpha)
        .def_rw("beta", &Activation::beta)
        .def_rw("threshold", &Activation::threshold)
        .def_rw("approximate_tanh", &Activation::approximate_tanh);

    nb::enum_<OptimizerKind>(m, "OptimizerKind")
        .value("SGD", OptimizerKind::SGD)
        .value("Adam", OptimizerKind::Adam)
        .value("AdamW", OptimizerKind::AdamW)
        .value("RMSprop", OptimizerKind::RMSprop)
        .value("Adagrad", OptimizerKind::Adagrad);
    nb::class_<Optimizer>(m, "Optimizer")
        .def(nb::init<>())
        .def_rw("kind", &Optimizer::kind)
        .def_rw("weight_decay", &Optimizer::weight_decay)
        .def_rw("decay_biases", &Optimizer::decay_biases)
        .def_rw("momentum", &Optimizer::momentum)
        .def_rw("dampening", &Optimizer::dampening)
        .def_rw("nesterov", &Optimizer::nesterov)
        .def_rw("beta1", &Optimizer::beta1)
        .def_rw("beta2", &Optimizer::beta2)
        .def_rw("eps", &Optimizer::eps)
        .def_rw("amsgrad", &Optimizer::amsgrad)
        .def_rw("alpha", &Optimizer::alpha)
        .def_rw("centered", &Optimizer::centered)
        .def_rw("lr_decay", &Optimizer::lr_decay)
        .def_rw("initial_accumulator_value", &Optimizer::initial_accumulator_value);

    nb::enum_<OpKind>(m, "OpKind")
        .value("linear", OpKind::linear)
        .value("activation", OpKind::activation)
        .value("dropout", OpKind::dropout);
    nb::class_<Op>(m, "Op")
        .def(nb::init<>())
        .def_rw("kind", &Op::kind)
        .def_rw("weight", &Op::weight)
        .def_rw("bias", &Op::bias)
        .def_rw("activation", &Op::activation)
        .def_rw("p", &Op::p)
        .def_rw("dropout_layer", &Op::dropout_layer);
    nb::class_<Plan>(m, "Plan")
        .def(nb::init<>())
        .def_rw("dtype", &Plan::dtype)
        .def_rw("n_in", &Plan::n_in)
        .def_rw("ops", &Plan::ops)
        .def_rw("has_loss", &Plan::has_loss)
        .def("set_loss", [](Plan& plan, std::string kind, std::map<std::string, double> numbers,
                            std::map<std::string, std::vector<double>> arrays) {
            plan.loss = Settings{std::move(kind), std::move(numbers), {}, std::move(arrays)};
        }, "kind"_a, "numbers"_a, "arrays"_a)
        .def_rw("class_targets", &Plan::class_targets)
        .def_rw("sample_weights", &Plan::sample_weights)
        .def_rw("has_optimizer", &Plan::has_optimizer)
        .def_rw("optimizer", &Plan::optimizer)
        .def_rw("clip_value", &Plan::clip_value)
        .def_rw("clip_norm", &Plan::clip_norm)
        .def_rw("batch", &Plan::batch)
        .def_rw("samples", &Plan::samples)
        .def_rw("seed", &Plan::seed)
        .def_rw("threads", &Plan::threads)
        .def_rw("limit_bytes", &Plan::limit_bytes)
        .def("add_parameter", [](Plan& plan, int64_t n_out, int64_t n_in) {
            plan.parameters.push_back(ParameterShape{n_out, n_in, true});
        }, "n_out"_a, "n_in"_a);

    nb::class_<Data>(m, "Data").def_prop_ro("rows", [](const Data& data) { return data.view.rows; });
    nb::class_<Position>(m, "Position")
        .def(nb::init<>())
        .def_rw("epoch", &Position::epoch)
        .def_rw("step", &Position::step)
        .def_prop_rw("loss_sum", [](Position& p) { return p.loss.sum; }, [](Position& p, double sum) { p.loss.sum = sum; })
        .def_prop_rw("loss_denominator", [](Position& p) { return p.loss.denominator; },
                     [](Position& p, double denominator) { p.loss.denominator = denominator; });

    nb::class_<Lease>(m, "Lease", nb::type_slots(lease_slots)).def(nb::init<nb::object>(), "compiled"_a);
    nb::class_<Compiled>(m, "Compiled", nb::type_slots(compiled_slots), nb::is_weak_referenceable())
        .def(nb::init<const Plan&, nb::object, nb::object, Objects, bool>(), "plan"_a, "empty"_a, "dtype"_a,
             "parameters"_a, "keeps_gradients"_a)
        .def_prop_ro("bytes", [](Compiled& c) { return c.engine().bytes(); })
        .def_prop_ro("n_out", &Compiled::n_out)
        .def_prop_ro("states", [](Compiled& c) { return c.engine().states(); })
        .def("threads_used", [](Compiled& c, int64_t batch) { return c.engine().threads_used(batch); }, "batch"_a)
        .def("read_value", [](Compiled& c, int i, OutputArray to) { c.read(i, to, false); })
        .def("write_value", [](Compiled& c, int i, InputArray from) { c.write(i, from, false); })
        .def("read_best", [](Compiled& c, int i, OutputArray to) { c.read(i, to, true); })
        .def("write_best", [](Compiled& c, int i, InputArray from) { c.write(i, from, true); })
        .def("keep_best", &Compiled::keep_best, "epoch"_a, "loss"_a)
        .def("write_state", &Compiled::write_state)
        .def("steps_taken", [](Compiled& c, int i) { return c.engine().steps_taken(i); })
        .def("set_steps_taken", [](Compiled& c, int i, int64_t steps) { c.engine().set_steps_taken(i, steps); })
        .def_prop_rw("dropout_pass", [](Compiled& c) { return c.engine().dropout_pass(); },
                     [](Compiled& c, int64_t pass) { c.engine().set_dropout_pass(pass); })
        .def_prop_ro("best_epoch", [](Compiled& c) { return c.engine().best().epoch; })
        .def_prop_ro("best_loss", [](Compiled& c) { return c.engine().best().loss; })
        .def("set_best", [](Compiled& c, int64_t epoch, double loss) { c.engine().set_best({epoch, loss}); }, "epoch"_a, "loss"_a)
        .def("data", &Compiled::data, "x"_a, "target"_a, "sample_weight"_a.none())
        .def("run", &Compiled::run, "data"_a, "validation"_a.none(), "lr"_a, "lr_per_step"_a, "batch"_a, "shuffle"_a,
             "seed"_a, "first_epoch"_a, "end_epoch"_a, "max_seconds"_a, "keep_best"_a, "losses"_a, "validation_losses"_a,
             "position"_a, "seconds"_a.none() = nb::none())
        .def("evaluate", &Compiled::evaluate, "data"_a, "y"_a.none())
        .def("predict", &Compiled::predict, "x"_a.none(), "out"_a.none() = nb::none())
        .def("forward", &Compiled::forward, "x"_a.none(), "training"_a = true)
        .def("backward", &Compiled::backward, "dy"_a.none(), "input"_a = true)
        .def("step", &Compiled::step, "x"_a.none(), "target"_a.none())
        .def("update", &Compiled::update)
        .def("zero_grad", &Compiled::zero_gradients)
        .def("show", [](Compiled& c, nb::handle parameter) { c.show(parameter, Home::What::value); })
        .def("show_gradient", [](Compiled& c, nb::handle parameter) { c.show(parameter, Home::What::gradient); })
        .def("assign", [](Compiled& c, nb::handle parameter, nb::object array) {
            c.assign(parameter, Home::What::value, std::move(array));
        }, "parameter"_a, "array"_a.none())
        .def("assign_gradient", [](Compiled& c, nb::handle parameter, nb::object array) {
            c.assign(parameter, Home::What::gradient, std::move(array));
        }, "parameter"_a, "array"_a.none())
        .def("copy_values", &Compiled::copy_values, "parameters"_a, "arrays"_a)
        .def("release", [](Compiled& c) { c.release(); })
        .def("release_one", [](Compiled& c, nb::handle parameter) { c.release(parameter); }, "parameter"_a)
        .def("set_state_places", &Compiled::set_state_places, "dicts"_a, "names"_a, "counts"_a)
        .def("give_state", &Compiled::give_state)
        .def("open_state", &Compiled::open_state, "parameter"_a, "k"_a, "array"_a)
        .def_prop_rw("owns_state", &Compiled::owns_state, &Compiled::set_owns_state)
        .def_prop_rw("changed", &Compiled::changed, &Compiled::set_changed)
        .def_rw("refresh", &Compiled::refresh, nb::arg().none())
        .def_rw("take_state", &Compiled::take_state, nb::arg().none())
        .def_rw("mismatch", &Compiled::mismatch, nb::arg().none())
        .def_prop_rw("read", [](Compiled& c) { return c.reader.read; },
                     [](Compiled& c, nb::object read) { c.reader.read = std::move(read); }, nb::arg().none())
        .def_rw("next_lr", &Compiled::next_lr, nb::arg().none())
        .def_rw("lr", &Compiled::lr)
        .def("set_counter", &Compiled::set_counter, "array"_a);

    nb::class_<PythonQueue>(m, "Queue")
        .def(nb::init<int>(), "threads"_a)
        .def("submit", &PythonQueue::submit, "compiled"_a, "data"_a, "validation"_a.none(), "lr"_a, "lr_per_step"_a,
             "batch"_a, "shuffle"_a, "seed"_a, "first_epoch"_a, "end_epoch"_a, "max_seconds"_a, "keep_best"_a,
             "losses"_a, "validation_losses"_a, "position"_a, "patience"_a = 0, "min_delta"_a = 0.0)
        .def("wait", &PythonQueue::wait, "seconds"_a)
        .def("stop", &PythonQueue::stop)
        .def("close", &PythonQueue::close);
}
