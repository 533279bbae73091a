// Microseconds per training step, and the share of the core's peak, over networks and batches.
//
//     steps_avx512 [threads [seconds per cell [substring of the network]]]
//
// ReLU, mean squared error, plain SGD, whole epochs over 1,000 samples, shuffled and not. All cells are measured in
// turn, round after round; the median of the rounds is printed, and the best round, whose share of the peak is
// given. The peak is that of a loop of independent fused multiply-adds, the best of the rounds as well.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

#include "../src/engine.h"
#include "../src/vec.h"
#include "../tests/plans.h"

using namespace chainrule;

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

template <class T>
double peak_gflops() {
    Vec<T> c[16];
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) c[j] = hide(broadcast<T>(1));
    const Vec<T> a = hide(broadcast<T>(0.5)), b = hide(broadcast<T>(0.25));
    const int turns = 200000;
    double best = 1e30;
    for (int trial = 0; trial < 3; ++trial) {
        const double start = now();
#pragma GCC unroll 16
        for (int j = 0; j < 16; ++j) asm volatile("" : "+v"(c[j]));  // the clock stays outside
        for (int i = 0; i < turns; ++i) {
#pragma GCC unroll 16
            for (int j = 0; j < (VECTOR_BYTES == 64 ? 16 : 10); ++j) c[j] = fma(c[j], a, b);
        }
#pragma GCC unroll 16
        for (int j = 0; j < 16; ++j) asm volatile("" : "+v"(c[j]));
        best = std::min(best, now() - start);
    }
    return turns * double(VECTOR_BYTES == 64 ? 16 : 10) * 2 * lanes<T> / best * 1e-9;
}

struct Cell {
    std::vector<int> widths;
    int batch;
    std::unique_ptr<Engine> engine;
    std::vector<float> x, target;
    Dataset data;
    double operations = 0;
    int64_t epoch[2] = {0, 0};
    std::vector<double> plain, shuffled;

    Cell(std::vector<int> w, int b, int threads, const std::string& activation, bool adam) : widths(w), batch(b) {
        Plan plan = plan_of({w, settings(activation)}, b, 1000, DType::float32, threads);
        if (adam) plan.rules = {{optimizer_settings("Adam"), {}}};
        for (size_t i = 1; i < w.size(); ++i) operations += (i == 1 ? 4.0 : 6.0) * b * w[i] * w[i - 1];
        engine = chainrule_engine.create(plan);
        std::mt19937 rng(1);
        std::uniform_real_distribution<float> d(-1, 1);
        for (size_t i = 0; i < plan.parameters.size(); ++i) {
            const auto& p = plan.parameters[i];
            std::vector<float> v(size_t(p.n_out * std::max<int64_t>(p.n_in, 1)));
            const float bound = p.n_in ? 1 / std::sqrt(float(p.n_in)) : 0.1f;
            for (float& f : v) f = d(rng) * bound;
            engine->write_parameter(int(i), v.data());
        }
        x.resize(size_t(1000 * w.front()));
        target.resize(size_t(1000 * w.back()));
        for (float& f : x) f = d(rng);
        for (float& f : target) f = d(rng);
        data = {1000, {x.data()}, {target.data()}, nullptr};
    }

    void measure(double seconds, bool shuffle) {
        const double lr = 1e-4;
        const int64_t steps = (1000 + batch - 1) / batch;
        std::vector<double> rates(1000000, lr);
        Training t;
        t.batch = batch;
        t.shuffle = shuffle;
        t.lr = rates.data();
        t.end_epoch = 1;
        Position p;
        engine->run(data, t, p);  // warm
        double spent = 0;
        int64_t epochs = 0, count = 1;
        while (spent < seconds) {
            t.end_epoch = count;
            p = {};
            const double start = now();
            engine->run(data, t, p);
            spent += now() - start;
            epochs += count;
            count = std::min<int64_t>(count * 2, 100000);
        }
        (shuffle ? shuffled : plain).push_back(spent / double(epochs * steps) * 1e6);
    }
};

double median(std::vector<double> v) {
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

}  // namespace

int main(int count, char** arguments) {
    const int threads = count > 1 ? std::atoi(arguments[1]) : 1;
    const double seconds = count > 2 ? std::atof(arguments[2]) : 0.02;
    const char* only = count > 3 ? arguments[3] : "";
    const std::string activation = count > 4 && !std::strcmp(arguments[4], "tanh") ? "Tanh" : "ReLU";
    const bool adam = count > 5 && !std::strcmp(arguments[5], "adam");
    std::vector<Cell> cells;
    auto add = [&](std::vector<int> widths, std::vector<int> batches) {
        std::string name;
        for (int w : widths) (name += name.empty() ? "" : "-") += std::to_string(w);
        if (name.find(only) == std::string::npos) return;
        for (int b : batches) cells.emplace_back(widths, b, threads, activation, adam);
    };
    add({2, 25, 25, 25, 2}, {1, 10, 100, 1000});
    add({4, 64, 64, 2}, {1, 100});
    add({64, 64, 64, 64, 4}, {10, 100});
    add({784, 256, 128, 10}, {1, 100});
    add({784, 512, 512, 10}, {100});
    add({1024, 1024, 1024, 10}, {10, 100});
    std::vector<double> peaks;
    for (int round = 0; round < 7; ++round) {
        peaks.push_back(peak_gflops<float>());
        for (Cell& c : cells) {
            c.measure(seconds, false);
            c.measure(seconds, true);
        }
    }
    const double peak = *std::max_element(peaks.begin(), peaks.end());
    std::printf("%s, %d thread(s), %s, peak %.0f GF/s\n", chainrule_engine.instruction_set, threads, activation.c_str(), peak);
    std::printf("%-24s %6s %12s %12s %12s %8s\n", "network", "batch", "us/step", "shuffled", "best", "of peak");
    for (Cell& c : cells) {
        std::string name;
        for (int w : c.widths) (name += name.empty() ? "" : "-") += std::to_string(w);
        const double best = *std::min_element(c.plain.begin(), c.plain.end());
        std::printf("%-24s %6d %12.3f %12.3f %12.3f %7.0f%%\n", name.c_str(), c.batch, median(c.plain),
                    median(c.shuffled), best, c.operations / best * 1e-3 / peak * 100);
    }
}
