// The same bits on every instruction set that has fused multiply-adds: hashes of what the activations, losses,
// optimizers and dropout make of fixed inputs. The baseline without FMA is held to those of the optimizers and of dropout,
// which use none.
#include "../src/layers/activations.h"
#include "../src/layers/dropout.h"
#include "../src/losses.h"
#include "../src/optimizers/optimizer.h"

#include "check.h"
#include "matrices.h"
#include "optimizer_settings.h"

using namespace chainrule;

namespace {

// FNV-1a over the bytes of numbers
struct Hash {
    uint64_t state = 0xcbf29ce484222325;
    template <class Number>
    void add(Number v) {
        unsigned char bytes[sizeof v];
        std::memcpy(bytes, &v, sizeof v);
        for (unsigned char b : bytes) state = (state ^ b) * 0x100000001b3;
    }
    template <class T>
    void add_matrix(const Matrix<T>& m) {
        for (int64_t r = 0; r < m.rows; ++r)
            for (int64_t c = 0; c < m.columns; ++c) add(m.at(r, c));
    }
};

// Numbers between -4 and 4 from a counter, exact in every type
double number(int64_t i) { return double(int64_t(uint64_t(i + 1) * 0x9E3779B97F4A7C15 >> 44) - (1 << 19)) / (1 << 17); }

template <class T>
void expect(const char* name, const Hash& hash, uint64_t expected, bool everywhere = false) {
    std::printf("  %-6s %-12s 0x%016llx\n", sizeof(T) == 4 ? "float" : "double", name, static_cast<unsigned long long>(hash.state));
    if (HAS_FMA || everywhere) CHECK(hash.state == expected, "%s", name);
}

template <class T>
Hash activations() {
    Hash hash;
    for (int64_t columns : {1, 7, 8, 10, 25, 64, 100})
        for (int kind = 0; kind <= int(ActivationKind::LogSoftmax); ++kind)
            for (bool approximate : {false, true}) {
                Activation a;
                a.kind = ActivationKind(kind), a.approximate_tanh = approximate;
                Storage<T> x(33, columns), y(33, columns), dy(33, columns, T(0));
                x.fill([&](int64_t r, int64_t c) { return number(r * columns + c) * 3; });
                dy.fill([&](int64_t r, int64_t c) { return number(r * columns + c + 12345); });
                activation_forward(a, x.matrix, y.matrix);
                hash.add_matrix(y.matrix);
                activation_backward(a, dy.matrix, (saves_output(a) ? y : x).matrix, dy.matrix);
                hash.add_matrix(dy.matrix);
            }
    return hash;
}

template <class T>
Hash losses() {
    Hash hash;
    const int64_t rows = 37;
    for (int64_t columns : {1, 2, 7, 8, 10, 25, 64, 100})
        for (int kind = 0; kind <= int(LossKind::NLLLoss); ++kind)
            for (double smoothing : {0.0, 0.1}) {
                Loss loss;
                loss.kind = LossKind(kind), loss.label_smoothing = smoothing;
                std::vector<int64_t> indices;
                std::vector<T> weights;
                for (int64_t r = 0; r < rows; ++r) indices.push_back(r * 7919 % columns), weights.push_back(T(r % 5) / 4);
                Storage<T> y(rows, columns), values(rows, columns), dy(rows, columns);
                y.fill([&](int64_t r, int64_t c) { return number(r * columns + c); });
                values.fill([&](int64_t r, int64_t c) { return number(r * columns + c + 54321) / 8 + 0.5; });
                Target<T> target{values.matrix, kind >= int(LossKind::CrossEntropyLoss) ? indices.data() : nullptr, weights.data()};
                double partial[3];
                const double denominator = loss_denominator(loss, target, rows, columns);
                loss_rows(loss, y.matrix, target, dy.matrix, denominator, partial);
                hash.add(denominator);
                for (double p : partial) hash.add(p);
                hash.add_matrix(dy.matrix);
            }
    return hash;
}

template <class T>
Hash optimizers() {
    Hash hash;
    const int64_t n = 48;
    for (const char* kind : {"SGD", "Adam", "AdamW", "RMSprop", "Adagrad"})
        for (double momentum : {0.0, 0.9}) {
            const double further = momentum > 0;
            const auto optimizer = make_optimizer<T>(optimizer_settings(
                kind, {{"momentum", momentum}, {"amsgrad", further}, {"centered", further}, {"eps", 1e-8}, {"weight_decay", 0.01}, {"clip_value", 0.75}}));
            std::vector<T> value(static_cast<size_t>(n)), gradient(static_cast<size_t>(n)), states[3];
            T* pointers[3];
            for (int k = 0; k < 3; ++k) states[k].assign(size_t(n), T(0)), pointers[k] = states[k].data();
            for (int64_t step = 1; step <= 10; ++step) {
                for (int64_t i = 0; i < n; ++i) gradient[size_t(i)] = T(number(step * n + i));
                double squares = 0;
                for (T g : gradient) squares += double(g) * double(g);
                const double scale = clip_scale(5, squares);
                optimizer->update({0.01, step, scale}, value.data(), gradient.data(), pointers, n);
            }
            for (T v : value) hash.add(v);
        }
    return hash;
}

template <class T>
Hash dropouts() {
    Hash hash;
    for (int64_t columns : {1, 8, 10, 25, 100}) {
        Storage<T> x(33, columns);
        x.fill([&](int64_t r, int64_t c) { return number(r * columns + c); });
        dropout<T>(42, 1, 2, 0.3, x.matrix, x.matrix, 0);
        hash.add_matrix(x.matrix);
    }
    return hash;
}

TEST("activations give the same bits") {
    expect<float>("activations", activations<float>(), 0xba34a1503ed2deba);
    expect<double>("activations", activations<double>(), 0xf3a02c9e66babe34);
}
TEST("losses give the same bits") {
    expect<float>("losses", losses<float>(), 0xadf48384342e07f3);
    expect<double>("losses", losses<double>(), 0x40de9b59fd26491d);
}
TEST("optimizers give the same bits") {
    expect<float>("optimizers", optimizers<float>(), 0x56999bd94ae89fc4, true);
    expect<double>("optimizers", optimizers<double>(), 0x0945f3ecddbd25b1, true);
}
TEST("dropout gives the same bits") {
    expect<float>("dropout", dropouts<float>(), 0x0ebd8798cf418a2f, true);
    expect<double>("dropout", dropouts<double>(), 0xf6ccaed3888c04ff, true);
}

}  // namespace

TEST_MAIN
