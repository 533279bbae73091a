// Who owns the numbers: this page is all of it.
//
// A parameter's numbers have one home: Python's array (`Parameter.home` is None), or the memory of the network that used
// them last. Reading `Parameter.value` moves nothing: the newest numbers are copied to the array, and a *window* is open,
// which means that the array and the engine hold the same. A call of the engine begins by reading every open window, so
// what was written there counts, and ends by writing to those whose arrays somebody still holds (their references are
// counted, views included), and closing the others. So an array that Python holds is always the one that the engine
// reads, whoever holds it, and a network whose arrays nobody looks at pays for one flag.
//
// An optimizer's state has one home too: its own dicts, until a step takes it here, and again as soon as anybody asks for
// `Optimizer.state`. Arrays of it that are held have windows like others.
//
// Interrupted   All copying between both sides, and every change of a home, happens in one call that holds the GIL and
//               runs nothing of Python's: no signal handler, no exception and no other thread comes between. What needs
//               Python (reading an optimizer's dicts, finding out what a change means) comes before it, and alone changes
//               nothing.
// Threads       A network works for one thread at a time; a second one gets an error. Who reads its numbers waits until
//               it is idle (a run comes back every 50 ms), is let in before the next call, and waits for no other network.
// Callbacks     run between two calls, and see and set the newest numbers.
// Fork          waits for the engine's work to pause (fork.h); so a child's networks are as whole as its parent's.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <vector>

#include "../engine.h"
#include "arrays.h"
#include "gil.h"

namespace chainrule {

using Objects = nb::typed<nb::list, nb::object>;

class Home {
public:
    enum class What : uint8_t { value, gradient, state };

    // parameters: Python's, in the plan's order; empty for a network that is only run once and then forgotten.
    // keeps_gradients: whether gradients live here too; a run of whole steps keeps none.
    Home(std::unique_ptr<Engine> engine, Objects parameters, nb::object array_type, bool keeps_gradients)
        : engine_(std::move(engine)), array_type_(std::move(array_type)), keeps_gradients_(keeps_gradients),
          generation_(Process::generation()) {
        for (nb::handle parameter : parameters) parameters_.push_back(nb::borrow(parameter));
        has_state_ = !parameters_.empty() && engine_->states() > 0;
        wary_ = !parameters_.empty();
        shown_[0].resize(parameters_.size());
        shown_[1].resize(parameters_.size());
    }

    Engine& engine() { return *engine_; }
    const Plan& plan() const { return engine_->plan(); }

    // ---- what Python sets, and what it is asked

    nb::object refresh;     // refresh(): called when `changed` is set; ends by unsetting it, or raises
    nb::object take_state;  // take_state(): brings the optimizer's state here; ends by setting `owns_state`, or raises
    nb::object mismatch;    // mismatch(i, array): raises the error for an array that does not fit
    bool changed() const { return changed_; }
    void set_changed(bool changed) {
        changed_ = changed;
        wary_ = wary_ || changed;
    }
    bool owns_state() const { return owns_state_; }
    void set_owns_state(bool owns) {
        owns_state_ = owns;
        wary_ = true;
    }

    // ---- looking: the network stays at home

    // Parameter.value and .grad: the array, filled with the newest numbers. Does nothing if they are not here (any more).
    void show(nb::handle parameter, What what) {
        wait_until_idle();
        const int i = place_of(parameter);
        if (i >= 0 && is_home(i)) show(i, what);
    }

    // The array was replaced by another one, which is what counts from here on.
    void assign(nb::handle parameter, What what, nb::object array) {
        wait_until_idle();
        set(parameter.ptr(), what == What::value ? names().value : names().gradient, array);
        const int i = place_of(parameter);
        if (i < 0 || !is_home(i) || (what == What::gradient && !keeps_gradients_)) return;
        close(what, i);
        open(what, i, 0, std::move(array));
        assigned_ = assigned_ || what == What::value;
    }

    // Copies the newest values of some parameters to arrays made for them, all of one moment.
    // False, and nothing is done, if one of them is not here.
    bool copy_values(Objects parameters, Objects arrays) {
        wait_until_idle();
        std::vector<std::pair<int, Whole>> to;
        for (size_t n = 0; n < parameters.size(); ++n) {
            const int i = place_of(parameters[n]);
            if (i < 0 || !is_home(i)) return false;
            to.emplace_back(i, whole(arrays[n], i, true));
            if (!to.back().second.fits) return false;
        }
        // Through the windows: what was written there since the last call is newer.
        for (auto& [i, array] : to) {
            if (Window* window = shown_[0][size_t(i)] ? window_of(What::value, i, 0) : nullptr) {
                Whole from = whole(window->array, i, false);
                if (!from.fits) return false;
                std::memcpy(array.room(), from.numbers(), bytes_of(i));
            } else {
                engine_->read_parameter(i, array.room());
            }
            array.filled();
        }
        return true;
    }

    // ---- giving back: Python's arrays are home again

    // All values and gradients; the network may then be forgotten.
    void release() {
        wait_until_idle();
        for (int i = 0; i < int(parameters_.size()); ++i) leave(i);
    }
    void release(nb::handle parameter) {
        wait_until_idle();
        if (const int i = place_of(parameter); i >= 0) leave(i);
    }

    // Where the optimizer keeps its state: (parameter, dict, names, counts, ahead) for the arrays that stand in a dict of Python's,
    // the parameter's next ones in the engine's order, and whether its number of steps stands there too, under "step". ahead:
    // they are Lookahead's, of which a parameter has a second dict.
    void set_state_places(Objects places) {
        places_.clear();
        std::vector<int> arrays(parameters_.size(), 0);
        for (nb::handle of : places) {
            Place place{nb::cast<int>(of[0]), 0, nb::borrow(of[1]), {}, nb::cast<bool>(of[4])};
            for (nb::handle name : of[2]) {
                place.k = arrays.at(size_t(place.i))++, place.name = nb::borrow(name);
                places_.push_back(place);
            }
            if (nb::cast<bool>(of[3])) place.k = -1, place.name = names().step, places_.push_back(place);
        }
    }

    // The optimizer's state, if it is here.
    void give_state() {
        wait_until_idle();
        if (!owns_state_) return;
        for (Window& w : windows_) {  // what was written there since the last call is newer
            if (w.what != What::state) continue;
            Whole from = whole(w.array, shape_of(w), false);
            if (from.fits) engine_->write_state(w.i, w.k, from.numbers());
        }
        struct Gift {
            Place place;
            nb::object array;
            Whole to;
        };
        std::vector<Gift> gifts;
        for (const Place& place : places_) {
            if (place.k < 0 || steps_of(place) == 0) continue;
            const ParameterShape shape = engine_->state_shape(place.i, place.k);
            PyObject* const found = PyDict_GetItemWithError(place.dict.ptr(), place.name.ptr());
            nb::object array = nb::borrow(found ? found : Py_None);
            if (!whole(array, shape, true).fits) array = fresh(shape);
            Whole to = whole(array, shape, true);
            gifts.push_back({place, std::move(array), std::move(to)});
        }
        for (Gift& gift : gifts) {
            engine_->read_state(gift.place.i, gift.place.k, gift.to.room());
            gift.to.filled();
            put(gift.place.dict, gift.place.name, gift.array);
        }
        for (const Place& place : places_)
            if (place.k < 0 && steps_of(place) > 0) put(place.dict, place.name, nb::int_(steps_of(place)));
        std::erase_if(windows_, [](const Window& w) { return w.what == What::state; });
        owns_state_ = false;
        wary_ = true;
    }

    // An array of the optimizer's state that the engine has just read; it stays true for whoever holds it.
    void open_state(int i, int k, nb::object array) { open(What::state, i, k, std::move(array)); }

    // ---- working

    // One call of the engine: `Turn turn(*this)` before it, `turn.done()` after it.
    class Turn {
    public:
        explicit Turn(Home& home) : home_(home) {
            home.notice_fork();
            if (home.busy_.load(std::memory_order_relaxed)) home.refuse_second_thread();
            if (home.waiting_ > 0) {
                home.let_waiting_in();
                if (home.busy_.load(std::memory_order_relaxed)) home.refuse_second_thread();
            }
            if (home.wary_) home.arrive();
            home.busy_.store(true, std::memory_order_relaxed);
        }
        Turn(const Turn&) = delete;
        ~Turn() { home_.end_turn(); }
        // The numbers may be others now.
        void done() {
            if (home_.wary_) home_.show_what_is_held();
        }

    private:
        Home& home_;
    };

    // For a run that a queue works on: busy from here on, until it is given back.
    void lend() {
        {
            Turn turn(*this);
        }
        busy_.store(true, std::memory_order_relaxed);
        lent_ = true;
    }
    void take_back() {
        lent_ = false;
        end_turn();
        if (wary_) show_what_is_held();
    }

    // Whether Python holds numbers of this network there: they would be written anew after a call.
    bool shows_at(const void* begin, size_t bytes) const {
        for (const Window& w : windows_)
            if (whole(w.array, shape_of(w), false).touches(begin, bytes)) return true;
        return false;
    }

    int traverse(visitproc visit, void* arg) const {
        for (const nb::object* o : {&refresh, &take_state, &mismatch, &array_type_}) Py_VISIT(o->ptr());
        for (const nb::object& parameter : parameters_) Py_VISIT(parameter.ptr());
        for (const Place& place : places_) Py_VISIT(place.dict.ptr());
        for (const Window& window : windows_) Py_VISIT(window.array.ptr());
        return 0;
    }
    void clear() {
        for (nb::object* o : {&refresh, &take_state, &mismatch}) o->reset();
        parameters_.clear();
        places_.clear();
        windows_.clear();
        wary_ = owns_state_ = false;
    }

protected:
    ~Home() = default;
    void refuse_if_busy() const {
        if (busy_.load(std::memory_order_relaxed)) refuse_second_thread();
    }

private:
    struct Window {
        What what;
        int i, k;
        nb::object array;
    };
    // Where array k of a parameter's state belongs; k < 0: the number of steps.
    struct Place {
        int i, k;
        nb::object dict, name;
        bool ahead;
    };
    struct Names {
        nb::object home = interned("home"), value = interned("_value"), gradient = interned("_grad"), step = interned("step");
        static nb::object interned(const char* text) { return nb::steal(PyUnicode_InternFromString(text)); }
    };
    static const Names& names() {
        static const Names* const only = new Names;
        return *only;
    }
    static nb::object get(PyObject* parameter, const nb::object& name) {
        PyObject* found = PyObject_GetAttr(parameter, name.ptr());
        if (!found) throw nb::python_error();
        return nb::steal(found);
    }
    static void set(PyObject* parameter, const nb::object& name, nb::handle value) {
        if (PyObject_SetAttr(parameter, name.ptr(), value.ptr()) != 0) throw nb::python_error();
    }

    static void put(const nb::object& dict, const nb::object& name, nb::handle value) {
        if (PyDict_SetItem(dict.ptr(), name.ptr(), value.ptr()) != 0) throw nb::python_error();
    }

    int place_of(nb::handle parameter) const {
        for (size_t i = 0; i < parameters_.size(); ++i)
            if (parameters_[i].is(parameter)) return int(i);
        return -1;
    }
    bool is_home(int i) const {
        const nb::object home = get(parameters_[size_t(i)].ptr(), names().home);
        return !home.is_none() && holder_of(home) == this;
    }
    static Home* holder_of(nb::handle home);  // null: of another instruction set's module

    size_t bytes_of(int i) const {
        return size_t(plan().parameters[size_t(i)].size()) * (plan().dtype == DType::float32 ? 4 : 8);
    }
    Whole whole(nb::handle array, int i, bool writable) const {
        return whole(array, plan().parameters[size_t(i)], writable);
    }
    Whole whole(nb::handle array, const ParameterShape& shape, bool writable) const {
        return Whole(array, array_type_, plan().dtype, shape, writable);
    }
    int64_t steps_of(const Place& place) const { return place.ahead ? engine_->steps_ahead(place.i) : engine_->steps_taken(place.i); }
    template <class Array>
    ParameterShape shape_of(const Array& of) const {
        return of.what == What::state ? engine_->state_shape(of.i, of.k) : plan().parameters[size_t(of.i)];
    }
    const nb::object& name_of_array(What what) const { return what == What::value ? names().value : names().gradient; }

    // ---- windows

    Window* window_of(What what, int i, int k) {
        for (Window& w : windows_)
            if (w.what == what && w.i == i && w.k == k) return &w;
        return nullptr;
    }
    void open(What what, int i, int k, nb::object array) {
        windows_.push_back({what, i, k, std::move(array)});
        if (what != What::state) shown_[what == What::gradient][size_t(i)] = true;
        wary_ = true;
    }
    void close(What what, int i) {
        if (!shown_[what == What::gradient][size_t(i)]) return;
        std::erase_if(windows_, [&](const Window& w) { return w.what == what && w.i == i; });
        shown_[what == What::gradient][size_t(i)] = false;
    }
    void show(int i, What what) {
        if (shown_[what == What::gradient][size_t(i)] || (what == What::gradient && !keeps_gradients_)) return;
        PyObject* const parameter = parameters_[size_t(i)].ptr();
        nb::object array = get(parameter, name_of_array(what));
        Whole to = whole(array, i, true);
        if (!to.fits) {  // made read-only, or changed in place: it stays as it is, and there is a new one
            array = fresh(plan().parameters[size_t(i)]);
            to.~Whole();
            new (&to) Whole(whole(array, i, true));
            set(parameter, name_of_array(what), array);
        }
        read(what, i, 0, to.room());
        to.filled();
        open(what, i, 0, std::move(array));
    }
    nb::object fresh(const ParameterShape& shape) const {
        if (!shape.axes.empty()) return empty(nb::tuple(nb::cast(shape.axes)));
        return shape.n_in > 0 ? empty(nb::make_tuple(shape.n_out, shape.n_in)) : empty(nb::int_(shape.n_out));
    }
    void read(What what, int i, int k, void* to) const {
        if (what == What::value) engine_->read_parameter(i, to);
        else if (what == What::gradient) engine_->read_gradient(i, to);
        else engine_->read_state(i, k, to);
    }
    void write(What what, int i, int k, const void* from) {
        if (what == What::value) engine_->write_parameter(i, from);
        else if (what == What::gradient) engine_->write_gradient(i, from);
        else engine_->write_state(i, k, from);
    }

    // ---- before and after a call

    // Bring everything here that the call needs. Whatever runs Python comes first, as often as it takes.
    [[gnu::noinline]] void arrive() {  // so that a call that needs none of it stays small
        if (assigned_ && may_share_memory()) changed_ = true;  // Python looks whether they do
        assigned_ = false;
        for (;;) {
            if (changed_) call(refresh);
            else if (ask_others()) {}
            else if (has_state_ && !owns_state_) call(take_state);
            else break;
            if (busy_.load(std::memory_order_relaxed)) refuse_second_thread();  // Python switched threads meanwhile
        }
        // From here on nothing of Python's runs, and nothing is changed before all is known to fit.
        struct Arrival {
            What what;
            int i, k;
            nb::object array;
            Whole from;
            bool moves;
        };
        std::vector<Arrival> arrivals;
        for (Window& w : windows_) arrivals.push_back({w.what, w.i, w.k, w.array, whole(w.array, shape_of(w), false), false});
        for (int i = 0; i < int(parameters_.size()); ++i) {
            PyObject* const parameter = parameters_[size_t(i)].ptr();
            const nb::object home = get(parameter, names().home);
            if (!home.is_none()) {
                Home* const holder = holder_of(home);
                if (holder == this) continue;
                holder->show_all(parameters_[size_t(i)]);
            }
            for (const What what : {What::value, What::gradient}) {
                if (what == What::gradient && !keeps_gradients_) continue;
                nb::object array = get(parameter, name_of_array(what));
                Whole from = whole(array, i, false);
                arrivals.push_back({what, i, 0, std::move(array), std::move(from), true});
            }
        }
        for (Arrival& a : arrivals)
            if (!a.from.fits) {
                mismatch(a.i, a.array);
                throw std::invalid_argument("an array does not fit the network");
            }
        std::vector<const void*> numbers;
        for (Arrival& a : arrivals) numbers.push_back(a.from.numbers());
        for (size_t n = 0; n < arrivals.size(); ++n) {
            Arrival& a = arrivals[n];
            write(a.what, a.i, a.k, numbers[n]);
            if (!a.moves) continue;
            open(a.what, a.i, 0, a.array);
            if (a.what == What::value) {
                PyObject* const parameter = parameters_[size_t(a.i)].ptr();
                const nb::object before = get(parameter, names().home);
                if (!before.is_none()) holder_of(before)->forget(parameters_[size_t(a.i)]);
                set(parameter, names().home, self());
            }
        }
    }

    // Other homes of what this call needs: waits until they are idle, and lets them give back the optimizer's state.
    // Returns whether other threads may have been let in, so that all has to be looked at again.
    bool ask_others() {
        for (const nb::object& parameter : parameters_) {
            const nb::object home = get(parameter.ptr(), names().home);
            if (home.is_none()) continue;
            Home* const holder = holder_of(home);
            if (holder == this) continue;
            if (!holder) {
                home.attr("release_one")(parameter);
                return true;
            }
            if (holder->busy_.load(std::memory_order_relaxed)) {
                holder->wait_until_idle();
                return true;
            }
            if (!holder->owns_state_) continue;
            holder->give_state();
            if (owns_state_ && shares_state_with(*holder)) owns_state_ = false;  // taken while the other one stepped
        }
        return false;
    }
    bool shares_state_with(const Home& other) const {
        for (const Place& place : places_)
            for (const Place& others : other.places_)
                if (place.dict.is(others.dict)) return true;
        return false;
    }
    // Whether the arrays of two parameters lie among each other.
    bool may_share_memory() const {
        std::vector<std::pair<const char*, const char*>> bounds;
        for (size_t i = 0; i < parameters_.size(); ++i)
            bounds.push_back(whole(get(parameters_[i].ptr(), names().value), int(i), false).bounds());
        std::sort(bounds.begin(), bounds.end());
        for (size_t i = 1; i < bounds.size(); ++i)
            if (bounds[i].first < bounds[i - 1].second) return true;
        return false;
    }
    static void call(const nb::object& function) {
        if (!function.is_valid() || function.is_none()) throw std::runtime_error("the network was taken apart");
        function();
    }
    void show_all(nb::handle parameter) {
        const int i = place_of(parameter);
        if (i < 0) return;
        show(i, What::value);
        show(i, What::gradient);
    }
    // Its numbers are elsewhere from here on.
    void forget(nb::handle parameter) {
        const int i = place_of(parameter);
        if (i < 0) return;
        close(What::value, i);
        close(What::gradient, i);
        wary_ = true;
    }
    void leave(int i) {
        if (!is_home(i)) return;
        show(i, What::value);
        show(i, What::gradient);
        close(What::value, i);
        close(What::gradient, i);
        wary_ = true;
        set(parameters_[size_t(i)].ptr(), names().home, nb::none());
    }

    [[gnu::noinline]] void show_what_is_held() {
        try {
            show_windows();
        } catch (...) {  // no memory for a copy: the engine's numbers are the true ones, and found at the next look
            windows_.clear();
            for (std::vector<char>& shown : shown_) std::fill(shown.begin(), shown.end(), false);
            throw;
        }
    }
    void show_windows() {
        for (size_t n = 0; n < windows_.size();) {
            Window& w = windows_[n];
            // Known to us: a Parameter's slot, or an optimizer's dict; and the window.
            if (is_held(w.array.ptr(), array_type_.ptr(), 2)) {
                Whole to = whole(w.array, shape_of(w), true);
                if (to.fits) {
                    read(w.what, w.i, w.k, to.room());
                    to.filled();
                    ++n;
                    continue;
                }
            }
            if (w.what != What::state) shown_[w.what == What::gradient][size_t(w.i)] = false;
            if (&w != &windows_.back()) w = std::move(windows_.back());
            windows_.pop_back();
        }
        wary_ = !windows_.empty() || changed_ || (has_state_ && !owns_state_);
        // That all parameters are here was found out when the call began, and only a call that begins elsewhere changes it.
    }

    // ---- one at a time

    [[noreturn, gnu::noinline]] void refuse_second_thread() const {
        if (lent_) throw std::runtime_error("fit_many is training a network with these numbers; they can be used when it is done, and no other may share them");
        throw std::runtime_error("this network is being used by another thread; compile one for each thread");
    }
    void wait_until_idle() {
        notice_fork();
        while (busy_.load(std::memory_order_relaxed)) {
            if (lent_) refuse_second_thread();
            ++waiting_;
            {
                const WithoutGil release;
                Process::Bell& bell = Process::bell();
                std::unique_lock<std::mutex> lock(bell.mutex);
                bell.rung.wait(lock, [&] { return !busy_.load(std::memory_order_acquire); });
            }
            --waiting_;
        }
    }
    void end_turn() {
        busy_.store(false, std::memory_order_release);
        if (waiting_ > 0) {
            Process::Bell& bell = Process::bell();
            { std::lock_guard<std::mutex> lock(bell.mutex); }
            bell.rung.notify_all();
        }
    }
    // Those who waited while a call worked are let in before the next one: it comes sooner than they wake up. Who does
    // not come for long (a thread that the interpreter's end has stopped) is not waited for.
    [[gnu::noinline]] void let_waiting_in() {
        for (int turns = 0; waiting_ > 0 && turns < 5000; ++turns) {
            const WithoutGil release;
            std::this_thread::sleep_for(std::chrono::microseconds(20));
        }
    }
    // In the child of a fork, the threads that used this network or waited for it are not there. The fork waited for
    // their work; what it did is still to be shown.
    void notice_fork() {
        if (generation_ == Process::generation()) return;
        generation_ = Process::generation();
        lent_ = false;
        waiting_ = 0;
        if (busy_.exchange(false, std::memory_order_relaxed)) show_what_is_held();
    }

protected:
    virtual nb::object self() const = 0;                   // as Python knows it
    virtual nb::object empty(nb::handle shape) const = 0;  // an uninitialised array of the network's dtype

private:
    std::unique_ptr<Engine> engine_;
    std::vector<nb::object> parameters_;
    std::vector<Place> places_;
    nb::object array_type_;
    bool keeps_gradients_, has_state_ = false, owns_state_ = false, changed_ = false;
    bool assigned_ = false;  // a parameter has another array, which may be a part of another one's
    bool wary_ = false;  // a call has to look before and after: for open windows, or because something is not here
    std::vector<Window> windows_;
    std::vector<char> shown_[2];  // by value and gradient, whether there is a window
    int generation_;
    std::atomic<bool> busy_{false};
    bool lent_ = false;
    int waiting_ = 0;  // threads in wait_until_idle; the GIL guards it
};

}  // namespace chainrule
