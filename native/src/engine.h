// The door to a compiled network: what bindings (or anybody) call. No templates, no vectors, no Python: one
// implementation per instruction set stands behind it (engine.cpp).
//
// All arrays are C-contiguous rows of the plan's dtype (`const void*`); shapes are counted in rows. The caller checks
// dtypes and shapes of its arrays; the engine checks counts, indices and its own state, and throws std::exception.
#pragma once

#include <cstdint>
#include <memory>

#include "plan.h"

namespace chainrule {

struct Dataset {
    int64_t rows = 0;
    const void* x = nullptr;             // (rows, n_in)
    const void* target = nullptr;        // (rows, n_out), or null
    const int64_t* indices = nullptr;    // (rows,) classes, where the plan says class_targets
    const void* sample_weight = nullptr; // (rows,) or null
};

struct LossSum {
    double sum = 0;          // of the undivided losses
    double denominator = 0;  // of the mean; 0 denominator means loss 0
};

// Where training stands. The caller keeps it between slices, and a run cut into slices gives the bits of a whole one.
struct Position {
    int64_t epoch = 0;
    int64_t step = 0;  // next step of this epoch
    LossSum loss;      // of this epoch so far
};

struct Training {
    int64_t batch = 1;          // at most the plan's
    bool shuffle = true;
    uint64_t seed = 0;          // of the order of samples
    const double* lr = nullptr; // one per epoch from first_epoch on, or per step: lr[(epoch - first_epoch) · steps + step]
    bool lr_per_step = false;
    int64_t first_epoch = 0;    // what lr[0] and losses[0] belong to
    int64_t end_epoch = 1;      // stop before this one
    int64_t max_steps = -1;     // of this call; -1: no limit
    double max_seconds = -1;    // of this call; -1: no limit
    double* losses = nullptr;   // loss of every finished epoch (may be null)
    double* seconds = nullptr;  // from the start of this call to the end of each epoch (may be null)
    const Dataset* validation = nullptr;
    double* validation_losses = nullptr;
    bool keep_best = false;     // remember the parameters of the epoch with the lowest (validation) loss
};

// interrupted: by max_steps or max_seconds. not_finite: a loss, or a parameter at the end of an epoch, is NaN or infinite;
// that epoch is never the best.
enum class Outcome { finished, interrupted, not_finite };

struct Best {
    int64_t epoch = -1;
    double loss = 0;
};

class Engine {
public:
    virtual ~Engine() = default;
    virtual const Plan& plan() const = 0;
    virtual int64_t n_out() const = 0;
    virtual int64_t bytes() const = 0;  // of the arena
    virtual int threads_used(int64_t batch) const = 0;

    // Parameters, gradients, and the k-th array of optimizer state, in Python's layout.
    // Gradients are those that `backward` gathers for `update`; what `run` and `step` leave there means nothing, because
    // plain SGD updates the weights without storing any.
    virtual void read_parameter(int i, void* to) const = 0;
    virtual void write_parameter(int i, const void* from) = 0;
    virtual void read_gradient(int i, void* to) const = 0;
    virtual void write_gradient(int i, const void* from) = 0;
    virtual void read_state(int i, int k, void* to) const = 0;
    virtual void write_state(int i, int k, const void* from) = 0;
    virtual int states() const = 0;
    virtual int64_t steps_taken(int i) const = 0;  // of the optimizer, for parameter i
    virtual void set_steps_taken(int i, int64_t steps) = 0;
    virtual int64_t dropout_pass() const = 0;      // training passes so far: the masks are a function of it
    virtual void set_dropout_pass(int64_t pass) = 0;
    virtual void count_updates_in(int64_t* count) = 0;  // those that `run`, `step` and `update` make from here on

    // The best parameters: those of the epoch with the lowest loss, or what was written before there was one.
    virtual void read_best(int i, void* to) const = 0;
    virtual void write_best(int i, const void* from) = 0;
    virtual Best best() const = 0;
    virtual void set_best(Best) = 0;               // epoch -1: none yet
    virtual void keep_best(Best) = 0;              // the parameters are the best now

    // Training: from `position` on, over whole epochs or until a limit.
    virtual Outcome run(const Dataset& data, const Training& training, Position& position) = 0;
    virtual LossSum evaluate(const Dataset& data, void* y) = 0;  // y (rows, n_out) or null
    virtual void predict(const void* x, int64_t rows, void* y) = 0;

    // One step at a time. `forward` remembers what `backward` needs until the next forward, step or run.
    virtual void forward(const void* x, int64_t rows, void* y, bool training) = 0;
    virtual void backward(const void* dy, int64_t rows, void* dx) = 0;  // adds to the gradients; dx may be null
    virtual void zero_gradients() = 0;
    virtual void update(double lr) = 0;                                 // by the gradients as they are
    virtual double step(const Dataset& batch, double lr) = 0;           // forward, loss, backward, update; the loss
};

// Chosen once per process by the CPU. Each instruction set's object exports one of these.
struct EngineTable {
    const char* instruction_set;
    std::unique_ptr<Engine> (*create)(const Plan&);
};

extern "C" const EngineTable chainrule_engine;

}  // namespace chainrule
