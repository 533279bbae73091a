// Python's lock, and the engine's manners towards it.
#pragma once

#include <nanobind/nanobind.h>

#include <chrono>
#include <thread>

#include "../fork.h"

namespace chainrule {

// Gives the GIL away for as long as it lives. Where the interpreter ends meanwhile, Python 3.10 to 3.13 end a thread that
// asks for the GIL again by unwinding it, which C++ takes for a crash; such a thread waits for the end of the process
// instead, as it does from Python 3.14 on.
class WithoutGil {
public:
    WithoutGil() : state_(PyEval_SaveThread()) {}
    WithoutGil(const WithoutGil&) = delete;
    ~WithoutGil() noexcept(false) {
        Stay stay;
        PyEval_RestoreThread(state_);
        stay.returned = true;
    }

private:
    struct Stay {
        bool returned = false;
        ~Stay() {
            while (!returned) std::this_thread::sleep_for(std::chrono::hours(1));
        }
    };
    PyThreadState* state_;
};

// Work that takes so long that other threads are let in meanwhile; a fork waits for its end.
class LongWork {
    WithoutGil without_gil_;  // first in, last out: whoever is inside the gate waits for no thread of Python's
    Process::Work work_;
};

}  // namespace chainrule
