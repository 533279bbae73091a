// Runs of a queue end as they end alone, in any order and on any number of threads; failures and stops stay apart.
#include <cmath>
#include <memory>

#include "../src/queue.h"

#include "check.h"
#include "plans.h"

using namespace chainrule;

namespace {

constexpr int samples = 90, n_in = 3, n_out = 2;

double number(int64_t i) { return double(int64_t(uint64_t(i + 1) * 0x9E3779B97F4A7C15 >> 44) - (1 << 19)) / (1 << 19); }

// A network n_in-width-n_out with its data; what it is trained for depends on `width` alone.
struct Task {
    explicit Task(int width, int epochs = 20) {
        const Plan plan = plan_of({{n_in, width, n_out}, settings("Tanh")}, 10, samples, DType::float64);
        engine = chainrule_engine.create(plan);
        for (size_t i = 0; i < plan.parameters.size(); ++i) {
            std::vector<double> v(size_t(plan.parameters[i].n_out * std::max<int64_t>(plan.parameters[i].n_in, 1)));
            for (size_t k = 0; k < v.size(); ++k) v[k] = number(int64_t(100 * i + k + size_t(width))) / 2;
            engine->write_parameter(int(i), v.data());
        }
        for (int i = 0; i < samples * n_in; ++i) x.push_back(number(i));
        for (int i = 0; i < samples * n_out; ++i) target.push_back(number(7 * i) / 2);
        data.rows = samples, data.x = {x.data()}, data.targets = {target.data()};
        losses.assign(size_t(epochs), -1);
        lr.assign(size_t(epochs), 0.1);
        training.batch = 10;
        training.seed = uint64_t(width);
        training.lr = lr.data();
        training.end_epoch = epochs;
        training.losses = losses.data();
    }

    std::unique_ptr<Engine> engine;
    std::vector<double> x, target, lr, losses;
    Dataset data;
    Training training;
    EarlyStopping early;
    Position position;

    Queue::Run run() {
        Queue::Run run;
        run.engine = engine.get(), run.data = &data, run.training = training, run.early = early, run.position = &position;
        return run;
    }
    std::vector<double> weights() const {
        std::vector<double> w(engine->plan().parameters[0].n_out * n_in);
        engine->read_parameter(0, w.data());
        return w;
    }
};

std::vector<Queue::Ended> all_of(Queue& queue, size_t n) {
    std::vector<Queue::Ended> ended;
    while (ended.size() < n)
        for (Queue::Ended& one : queue.wait(1)) ended.push_back(std::move(one));
    return ended;
}

TEST("runs of a queue give the bits that they give alone") {
    for (int threads : {1, 2, 5}) {
        std::vector<std::unique_ptr<Task>> tasks;
        Queue queue(threads);
        for (int i = 0; i < 40; ++i) {
            tasks.push_back(std::make_unique<Task>(1 + 3 * i, 5 + i % 7));
            CHECK(queue.submit(tasks.back()->run()) == i);
        }
        std::vector<int> seen(40);
        for (const Queue::Ended& one : all_of(queue, 40)) {
            ++seen[size_t(one.number)];
            CHECK(one.outcome == Outcome::finished && one.error.empty() && one.seconds > 0);
        }
        for (int i = 0; i < 40; ++i) {
            Task alone(1 + 3 * i, 5 + i % 7);
            alone.engine->run(alone.data, alone.training, alone.position);
            CHECK(seen[size_t(i)] == 1 && tasks[size_t(i)]->losses == alone.losses && tasks[size_t(i)]->weights() == alone.weights(),
                  "run %d on %d threads", i, threads);
        }
        CHECK(queue.wait(0).empty());
    }
}

TEST("an early stop comes where the rule says, by the loss that counts") {
    for (bool held_out : {false, true})
        for (int patience : {1, 2, 5})
            for (double min_delta : {0.0, 1e-3, 1e-2}) {
                Task task(20, 300), whole(20, 300);
                std::vector<double> validation(300), expected(300);
                Dataset few = task.data;
                few.rows = 10;
                if (held_out) {
                    task.training.validation = whole.training.validation = &few;
                    task.training.validation_losses = validation.data();
                    whole.training.validation_losses = expected.data();
                }
                task.early = {patience, min_delta};
                Queue queue(1);
                queue.submit(task.run());
                const Queue::Ended ended = all_of(queue, 1)[0];
                whole.engine->run(whole.data, whole.training, whole.position);
                const std::vector<double>& losses = held_out ? expected : whole.losses;
                int64_t stop = 300;
                for (int n = patience + 1; n < 300; ++n) {
                    double before = losses[0], window = losses[size_t(n - patience)];
                    for (int i = 1; i < n - patience; ++i) before = std::min(before, losses[size_t(i)]);
                    for (int i = n - patience; i < n; ++i) window = std::min(window, losses[size_t(i)]);
                    if (window >= before - min_delta) {
                        stop = n;
                        break;
                    }
                }
                CHECK(ended.outcome == Outcome::finished && task.position.epoch == stop, "%d epochs, not %d; patience %d",
                      int(task.position.epoch), int(stop), patience);
            }
    Task never(20, 300);
    Queue queue(1);
    queue.submit(never.run());
    all_of(queue, 1);
    CHECK(never.position.epoch == 300);
}

TEST("what fails or runs out of time says so, and the others go on") {
    Task good(8), wrong(8), slow(8, 1000000), ruined(8);
    wrong.training.batch = 11;
    slow.training.max_seconds = 0.05;
    ruined.lr.assign(ruined.lr.size(), 1e300);
    ruined.training.lr = ruined.lr.data();
    Queue queue(2);
    for (Task* task : {&good, &wrong, &slow, &ruined}) queue.submit(task->run());
    for (const Queue::Ended& one : all_of(queue, 4)) {
        if (one.number == 0) CHECK(one.outcome == Outcome::finished && one.error.empty());
        if (one.number == 1) CHECK(one.error == "run: batch must lie between 1 and the plan's", "%s", one.error.c_str());
        if (one.number == 2) CHECK(one.outcome == Outcome::interrupted && one.seconds >= 0.05);
        if (one.number == 3) CHECK(one.outcome == Outcome::not_finite && one.error.empty());
    }
    CHECK(good.position.epoch == 20);
}

TEST("stop ends what runs and what waits") {
    Task first(8, 1000000), second(8);
    Queue queue(1);
    queue.submit(first.run());
    queue.submit(second.run());
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // by now the first has most likely begun
    queue.stop();
    for (const Queue::Ended& one : all_of(queue, 2)) CHECK(one.outcome == Outcome::interrupted);
    CHECK(second.position.epoch == 0 && second.position.step == 0);
    Task late(8);
    queue.submit(late.run());
    CHECK(all_of(queue, 1)[0].outcome == Outcome::interrupted && late.position.step == 0);
    Task left(8, 1000000);
    { Queue gone(1); gone.submit(left.run()); }  // and so does the end of the queue
    CHECK(left.position.epoch < 1000000);
}

}  // namespace

TEST_MAIN
