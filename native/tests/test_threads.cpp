// The judge of whether help pays, in worlds that are drawn up here: what a step takes is said, and no clock is asked.
#include "../src/threads.h"

#include "check.h"

using namespace chainrule;

namespace {

constexpr double alone = 20e-6;  // what a step takes without help

// What a step takes with it, at a time.
using World = double (*)(double now);

double idle(double) { return 0.6 * alone; }
double crowded(double) { return 1.2 * alone; }
// The helper has a core for 3 ms, and then it waits as long in the midst of a part. It comes when it is called.
struct Busy {
    double left = 3e-3;
    double operator()(double) {
        left -= 0.6 * alone;
        if (left > 0) return 0.6 * alone;
        left = 3e-3;
        return 0.6 * alone + 3e-3;
    }
    void rest() { left = 3e-3; }
};

struct Run {
    double seconds = 0, helped = 0;  // in all, and while help was asked for
    int64_t steps = 0;
    double share() const { return seconds / (double(steps) * alone); }  // of the time that it would have taken alone
};

// Steps until so many seconds are over.
template <class World>
Run run(Judge& judge, World&& world, double seconds, double begin = 100) {
    Run run;
    while (run.seconds < seconds) {
        const bool help = judge.wants_help();
        const double took = help ? world(begin + run.seconds) : alone;
        run.seconds += took;
        if (help) run.helped += took;
        ++run.steps;
        judge.ended(1, took, begin + run.seconds);
    }
    return run;
}

}  // namespace

TEST("help is taken where it helps") {
    Patience patience;
    Judge judge(patience, 100);
    CHECK(judge.wants_help(), "the first step has help");
    const Run all = run(judge, idle, 1);
    CHECK(all.share() < 0.61, "%.3f of the time", all.share());
}

TEST("help that takes longer is tried a few times in a second, and costs next to nothing") {
    Patience patience;
    Judge judge(patience, 100);
    const Run all = run(judge, crowded, 1);
    CHECK(all.share() < 1.005, "%.4f of the time", all.share());
    CHECK(all.helped > 0 && all.helped < 0.02, "%.4f s with help", all.helped);
}

TEST("beside a busy process, where a helper is waited for now and then, help costs less than three hundredths") {
    Patience patience;
    Judge judge(patience, 100);
    const Run all = run(judge, Busy(), 2);
    CHECK(all.share() < 1.02, "%.4f of the time", all.share());
}

TEST("many short runs beside a busy process know of each other") {
    Patience patience;
    Busy busy;
    double seconds = 0;
    int64_t steps = 0;
    for (int i = 0; i < 100; ++i) {
        Judge judge(patience, 100 + seconds);
        busy.left = 3e-3 * ((i * 37 % 100) + 1) / 100;  // wherever it is in its turn
        const Run one = run(judge, busy, 20e-3, 100 + seconds);
        seconds += one.seconds, steps += one.steps;
    }
    const double share = seconds / (double(steps) * alone);
    CHECK(share < 1.03, "%.4f of the time", share);
}

TEST("when the other process has gone, help comes back within half a second") {
    Patience patience;
    Judge judge(patience, 100);
    run(judge, Busy(), 2, 100);
    run(judge, idle, 0.5, 102.1);
    const Run after = run(judge, idle, 1, 102.7);
    CHECK(after.helped > 0.9, "%.3f of a second with help", after.helped);
}

TEST("a wait in many seconds is no reason to do without help") {
    Patience patience;
    Judge judge(patience, 100);
    int64_t steps = 0;
    const Run all = run(judge, [&](double) { return ++steps % 50000 ? 0.6 * alone : 3e-3; }, 5);
    CHECK(all.share() < 0.64, "%.3f of the time", all.share());
}

TEST("a run that begins soon after help has cost much begins without it") {
    Patience patience;
    Judge first(patience, 100);
    run(first, Busy(), 20e-3);
    CHECK(!Judge(patience, 100.02).wants_help() && Judge(patience, 101).wants_help());
    patience.be_endless();
    CHECK(Judge(patience, 100.02).wants_help() && first.wants_help(), "but in tests");
}

TEST("steps that last long are compared one by one") {
    Patience patience;
    Judge judge(patience, 100);
    int helped = 0;
    for (int i = 0; i < 8; ++i) {
        const bool help = judge.wants_help();
        helped += help;
        judge.ended(1, help ? 0.05 : 0.09, 100 + 0.1 * i);
    }
    CHECK(helped >= 5, "%d of 8 steps", helped);
}

TEST_MAIN
