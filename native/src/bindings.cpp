// The border to Python: only this file and python/ know it. One module per instruction set is compiled from this file and
// engine.cpp; chainrule.engine.native imports the one that the CPU can run.
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdlib>
#include <utility>
#include <vector>

#include "engine.h"
#include "fork.h"
#include "python/compiled.h"
#include "python/lease.h"
#include "python/queue.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace chainrule {
namespace {

PyType_Slot lease_slots[] = {{Py_tp_traverse, (void*)Lease::traverse}, {Py_tp_clear, (void*)Lease::clear}, {0, nullptr}};
PyType_Slot compiled_slots[] = {{Py_tp_traverse, (void*)Compiled::traverse}, {Py_tp_clear, (void*)Compiled::clear}, {0, nullptr}};

// Of each head: the sum of its losses, and what it is divided by.
using Sums = std::vector<std::pair<double, double>>;

Sums sums_of(const Position& position) {
    Sums sums;
    for (const LossSum& loss : position.losses) sums.emplace_back(loss.sum, loss.denominator);
    return sums;
}
void set_sums(Position& position, const Sums& sums) {
    position.losses.clear();
    for (const auto& [sum, denominator] : sums) position.losses.push_back({sum, denominator});
}

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

    nb::class_<Data>(m, "Data").def_prop_ro("rows", [](const Data& data) { return data.view.rows; });
    nb::class_<Position>(m, "Position")
        .def(nb::init<>())
        .def_rw("epoch", &Position::epoch)
        .def_rw("step", &Position::step)
        .def_prop_rw("losses", sums_of, set_sums);

    nb::class_<Lease>(m, "Lease", nb::type_slots(lease_slots)).def(nb::init<nb::object>(), "compiled"_a);
    nb::class_<Compiled>(m, "Compiled", nb::type_slots(compiled_slots), nb::is_weak_referenceable())
        .def(nb::init<const Described&, nb::object, nb::object, Objects, bool>(), "plan"_a, "empty"_a, "dtype"_a,
             "parameters"_a, "keeps_gradients"_a)
        .def_prop_ro("bytes", [](Compiled& c) { return c.engine().bytes(); })
        .def_prop_ro("notes", [](Compiled& c) { return c.engine().notes(); })
        .def_prop_ro("states", [](Compiled& c) { return c.engine().states(); })
        .def("threads_used", [](Compiled& c, int64_t batch) { return c.engine().threads_used(batch); }, "batch"_a)
        .def("read_value", [](Compiled& c, int i, OutputArray to) { c.read(i, to, false); })
        .def("write_value", [](Compiled& c, int i, InputArray from) { c.write(i, from, false); })
        .def("read_best", [](Compiled& c, int i, OutputArray to) { c.read(i, to, true); })
        .def("write_best", [](Compiled& c, int i, InputArray from) { c.write(i, from, true); })
        .def("keep_best", &Compiled::keep_best, "epoch"_a, "loss"_a)
        .def("read_average", &Compiled::read_average)
        .def("write_average", &Compiled::write_average)
        .def_prop_rw("averaged", [](Compiled& c) { return c.engine().averaged(); },
                     [](Compiled& c, int64_t taken) { c.engine().set_averaged(taken); })
        .def("write_state", &Compiled::write_state)
        .def("steps_taken", [](Compiled& c, int i) { return c.engine().steps_taken(i); })
        .def("set_steps_taken", [](Compiled& c, int i, int64_t steps) { c.engine().set_steps_taken(i, steps); })
        .def("set_steps_ahead", [](Compiled& c, int i, int64_t steps) { c.engine().set_steps_ahead(i, steps); })
        .def_prop_rw("dropout_pass", [](Compiled& c) { return c.engine().dropout_pass(); },
                     [](Compiled& c, int64_t pass) { c.engine().set_dropout_pass(pass); })
        .def_prop_ro("best_epoch", [](Compiled& c) { return c.engine().best().epoch; })
        .def_prop_ro("best_loss", [](Compiled& c) { return c.engine().best().loss; })
        .def("set_best", [](Compiled& c, int64_t epoch, double loss) { c.engine().set_best({epoch, loss}); }, "epoch"_a, "loss"_a)
        .def("data", &Compiled::data, "x"_a, "targets"_a, "sample_weight"_a.none(), "before"_a = 0, "total"_a = 0,
             "order"_a = nb::none())
        .def("run", &Compiled::run, "data"_a, "validation"_a.none(), "lr"_a, "momentum"_a, "lr_per_step"_a, "batch"_a, "shuffle"_a,
             "seed"_a, "first_epoch"_a, "end_epoch"_a, "max_seconds"_a, "keep_best"_a, "losses"_a, "validation_losses"_a,
             "head_losses"_a, "validation_head_losses"_a, "position"_a)
        .def("predict", &Compiled::predict, "x"_a.none(), "out"_a.none() = nb::none())
        .def("predict_by_average", &Compiled::predict_by_average, "x"_a.none())
        .def("forward", &Compiled::forward, "x"_a.none(), "training"_a = true)
        .def("backward", &Compiled::backward, "dy"_a.none(), "input"_a = true)
        .def("step", &Compiled::step, "x"_a.none(), "target"_a.none(), "sample_weight"_a.none() = nb::none())
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
        .def("set_state_places", &Compiled::set_state_places, "places"_a)
        .def("give_state", &Compiled::give_state)
        .def("open_state", &Compiled::open_state, "parameter"_a, "k"_a, "array"_a)
        .def_prop_rw("owns_state", &Compiled::owns_state, &Compiled::set_owns_state)
        .def_prop_rw("changed", &Compiled::changed, &Compiled::set_changed)
        .def_rw("refresh", &Compiled::refresh, nb::arg().none())
        .def_rw("take_state", &Compiled::take_state, nb::arg().none())
        .def_rw("mismatch", &Compiled::mismatch, nb::arg().none())
        .def_prop_rw("read", [](Compiled& c) { return c.reader.read; },
                     [](Compiled& c, nb::object read) { c.reader.read = std::move(read); }, nb::arg().none())
        .def_prop_ro("lr", [](Compiled& c) { return c.lr; })
        .def_prop_ro("momentum", [](Compiled& c) { return c.momentum; })
        .def("set_rates", &Compiled::set_rates, "lr"_a, "momentum"_a, "next_rates"_a.none())
        .def("set_counter", &Compiled::set_counter, "array"_a);

    nb::class_<PythonQueue>(m, "Queue")
        .def(nb::init<int>(), "threads"_a)
        .def("submit", &PythonQueue::submit, "compiled"_a, "data"_a, "validation"_a.none(), "lr"_a, "momentum"_a, "lr_per_step"_a,
             "batch"_a, "shuffle"_a, "seed"_a, "first_epoch"_a, "end_epoch"_a, "max_seconds"_a, "keep_best"_a,
             "losses"_a, "validation_losses"_a, "head_losses"_a, "validation_head_losses"_a, "position"_a, "patience"_a = 0, "min_delta"_a = 0.0)
        .def("wait", &PythonQueue::wait, "seconds"_a)
        .def("stop", &PythonQueue::stop)
        .def("close", &PythonQueue::close);
}
