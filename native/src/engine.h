// The door to a compiled network: what bindings (or anybody) call. No templates, no vectors, no Python: one
// implementation per instruction set stands behind it (engine.cpp).
//
// All arrays are C-contiguous rows of the plan's dtype (`const void*`); shapes are counted in rows. x, y, dx and dy are
// lists of arrays, one for each of the plan's inputs or outputs. The caller checks dtypes and shapes of its arrays; the
// engine checks counts, indices and its own state, and throws std::exception.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "plan.h"
#include "rates.h"

namespace chainrule {

struct Dataset {
    int64_t rows = 0;
    std::vector<const void*> x;            // (rows, numbers of a sample) for each of the plan's inputs
    std::vector<const void*> targets;      // for each head: (rows, columns) numbers, or int64 classes (rows,)
    const void* sample_weight = nullptr;   // (rows,) or null
    // Where these rows are a part of an epoch's: how many come before them, how many there are in all (0: no more), and the
    // order in which they come (null: as they stand).
    int64_t before = 0, total = 0;
    const int64_t* order = nullptr;
    int64_t all() const { return total ? total : rows; }
};

struct LossSum {
    double sum = 0;          // of the undivided losses
    double denominator = 0;  // of the mean; 0 denominator means loss 0
};

// Where training stands. The caller keeps it between slices, and a run cut into slices gives the bits of a whole one.
struct Position {
    int64_t epoch = 0;
    int64_t step = 0;            // next step of this epoch
    std::vector<LossSum> losses; // of this epoch so far, one for each head; empty: nothing yet
};

struct Training {
    int64_t batch = 1;          // at most the plan's
    bool shuffle = true;
    uint64_t seed = 0;          // of the order of samples
    // Of each rule of the plan, one per epoch from first_epoch on, or per step:
    // lr[((epoch - first_epoch) · steps + step) · rules + rule]
    const double* lr = nullptr;
    const double* momentum = nullptr;  // likewise; null, or below 0: what the rule was made with
    bool lr_per_step = false;
    int64_t first_epoch = 0;    // what lr[0] and losses[0] belong to
    int64_t end_epoch = 1;      // stop before this one
    int64_t max_steps = -1;     // of this call; -1: no limit
    double max_seconds = -1;    // of this call; -1: no limit
    double* losses = nullptr;   // loss of every finished epoch (may be null)
    double* seconds = nullptr;  // from the start of this call to the end of each epoch (may be null)
    const Dataset* validation = nullptr;
    double* validation_losses = nullptr;
    double* head_losses = nullptr;             // of each head, before its weight, after every finished epoch (may be null)
    double* validation_head_losses = nullptr;
    bool keep_best = false;     // remember the parameters of the epoch with the lowest (validation) loss
};

// interrupted: by max_steps or max_seconds, or by the end of a part of the data, whose next part goes on from there.
// not_finite: a loss, or a parameter at the end of an epoch, is NaN or infinite; that epoch is never the best.
enum class Outcome { finished, interrupted, not_finite };

struct Best {
    int64_t epoch = -1;
    double loss = 0;
};

class Engine {
public:
    virtual ~Engine() = default;
    virtual const Plan& plan() const = 0;
    virtual int64_t bytes() const = 0;  // of the arena
    virtual int threads_used(int64_t batch) const = 0;
    virtual std::vector<std::string> notes() const = 0;  // for each op, what became of it: "rides on op 3"; or nothing

    // Parameters, gradients, and the k-th array of optimizer state, in Python's layout.
    // Gradients are those that `backward` gathers for `update`; what `run` and `step` leave there means nothing, because
    // plain SGD updates the weights without storing any.
    virtual void read_parameter(int i, void* to) const = 0;
    virtual void write_parameter(int i, const void* from) = 0;
    virtual void read_gradient(int i, void* to) const = 0;
    virtual void write_gradient(int i, const void* from) = 0;
    virtual void read_state(int i, int k, void* to) const = 0;
    virtual void write_state(int i, int k, const void* from) = 0;
    virtual ParameterShape state_shape(int i, int k) const = 0;  // mostly the parameter's own
    virtual int states() const = 0;
    virtual int64_t steps_taken(int i) const = 0;  // of the optimizer, for parameter i
    virtual void set_steps_taken(int i, int64_t steps) = 0;
    virtual int64_t steps_ahead(int i) const = 0;  // of Lookahead, whose slow weights are the state behind the others
    virtual void set_steps_ahead(int i, int64_t steps) = 0;
    virtual int64_t dropout_pass() const = 0;      // training passes so far: the masks are a function of it
    virtual void set_dropout_pass(int64_t pass) = 0;
    virtual void count_updates_in(int64_t* count) = 0;  // those that `run`, `step` and `update` make from here on

    // The best parameters: those of the epoch with the lowest loss, or what was written before there was one.
    virtual void read_best(int i, void* to) const = 0;
    virtual void write_best(int i, const void* from) = 0;
    virtual Best best() const = 0;
    virtual void set_best(Best) = 0;               // epoch -1: none yet
    virtual void keep_best(Best) = 0;              // the parameters are the best now

    // The mean of the parameters, if the plan has an average, and how many weights are in it: as long as there are none, the
    // parameters stand for it. Losses of validation data, and the best parameters, are the mean's.
    virtual void read_average(int i, void* to) const = 0;
    virtual void write_average(int i, const void* from) = 0;
    virtual int64_t averaged() const = 0;
    virtual void set_averaged(int64_t taken) = 0;
    virtual void predict_by_average(const void* const* x, int64_t rows, void* const* y) = 0;

    // Training: from `position` on, over whole epochs or until a limit.
    virtual Outcome run(const Dataset& data, const Training& training, Position& position) = 0;
    // The sums of each head's loss into `losses`, and the outputs into y, one array for each (null: not wanted).
    virtual void evaluate(const Dataset& data, LossSum* losses, void* const* y) = 0;
    virtual void predict(const void* const* x, int64_t rows, void* const* y) = 0;

    // One step at a time. `forward` remembers what `backward` needs until the next forward, step or run.
    virtual void forward(const void* const* x, int64_t rows, void* const* y, bool training) = 0;
    virtual void backward(const void* const* dy, int64_t rows, void* const* dx) = 0;  // adds to the gradients; dx may be null
    virtual void zero_gradients() = 0;
    virtual void update(const Rates& rates) = 0;                        // by the gradients as they are
    virtual double step(const Dataset& batch, const Rates& rates) = 0;  // forward, loss, backward, update; the loss
};

// Chosen once per process by the CPU. Each instruction set's object exports one of these.
struct EngineTable {
    const char* instruction_set;
    std::unique_ptr<Engine> (*create)(const Plan&);
};

extern "C" const EngineTable chainrule_engine;

}  // namespace chainrule
