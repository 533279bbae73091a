// losses/ against the naive twins: all losses with all options, odd sizes, whole and in slices, in and out of place.
#include "naive_losses.h"

#include <limits>

#include "check.h"
#include "matrices.h"

using namespace chainrule;

namespace {

template <class R>
std::vector<naive::LossOptions<R>> variants(int64_t columns) {
    using Options = naive::LossOptions<R>;
    std::vector<R> weights, pos_weights;
    for (int64_t c = 0; c < columns; ++c) weights.push_back(R(1 + c % 5) / 4), pos_weights.push_back(R(1 + c % 3) / 2);
    std::vector<Options> all;
    for (bool mean : {true, false}) {
        auto add = [&](Options o) { o.mean = mean, all.push_back(o); };
        add({.kind = "MSELoss"});
        add({.kind = "L1Loss"});
        add({.kind = "SmoothL1Loss"});
        add({.kind = "SmoothL1Loss", .beta = 0});
        add({.kind = "SmoothL1Loss", .beta = R(0.25)});
        add({.kind = "HuberLoss"});
        add({.kind = "HuberLoss", .delta = R(2.5)});
        add({.kind = "QuantileLoss", .quantile = R(0.125)});
        add({.kind = "PoissonNLLLoss"});
        add({.kind = "SoftMarginLoss"});
        add({.kind = "BCEWithLogitsLoss"});
        add({.kind = "BCEWithLogitsLoss", .weight = weights});
        add({.kind = "BCEWithLogitsLoss", .weight = {R(1.5)}, .pos_weight = pos_weights});
        add({.kind = "CrossEntropyLoss"});
        add({.kind = "CrossEntropyLoss", .weight = weights});
        add({.kind = "CrossEntropyLoss", .label_smoothing = R(0.125)});
        add({.kind = "CrossEntropyLoss", .label_smoothing = R(0.25), .ignore_index = 0, .weight = weights});
        add({.kind = "NLLLoss"});
        add({.kind = "NLLLoss", .ignore_index = 0, .weight = weights});
    }
    return all;
}

// The same, where targets may be missing.
template <class R>
std::vector<naive::LossOptions<R>> variants_with_missing(int64_t columns) {
    std::vector<naive::LossOptions<R>> all;
    for (naive::LossOptions<R> o : variants<R>(columns))
        if (o.kind != "NLLLoss") o.ignores_missing = true, all.push_back(o);
    return all;
}

template <class T>
std::unique_ptr<Loss<T>> loss_from(const naive::LossOptions<Reference<T>>& o, int64_t columns) {
    return make_loss<T>(o.settings(), columns);
}

template <class T>
struct Problem {
    Storage<T> y, values;
    std::vector<int64_t> indices;
    std::vector<T> sample_weight;
    std::vector<double> there;
    naive::Batch<Reference<T>> batch;
    Target<T> target;

    Problem(const naive::LossOptions<Reference<T>>& o, int64_t rows, int64_t columns, bool probabilities, bool weighted)
        : y(rows, columns), values(rows, columns) {
        std::mt19937_64 random(uint64_t(rows * 1000 + columns));
        std::normal_distribution<double> normal(0, 2);
        std::uniform_real_distribution<double> uniform(0, 1);
        const bool classes = o.of_classes();
        const bool bce = o.kind == "BCEWithLogitsLoss";
        y.fill([&](int64_t, int64_t) { return normal(random); });
        values.fill([&](int64_t, int64_t) { return bce || classes ? uniform(random) : normal(random); });
        if (!classes) y.matrix.at(0, 0) = values.matrix.at(0, 0);  // the kink
        if (o.ignores_missing)  // every fifth row as a whole, and here and there an element
            for (int64_t r = 0; r < rows; ++r)
                for (int64_t c = 0; c < columns; ++c)
                    if (r % 5 == 2 || random() % 8 == 0) values.matrix.at(r, c) = std::numeric_limits<T>::quiet_NaN();
        for (int64_t r = 0; r < rows; ++r) {
            batch.y.push_back(y.row(r));
            batch.values.push_back(values.row(r));
        }
        target.values = values.matrix;
        if (classes && !probabilities) {
            for (int64_t r = 0; r < rows; ++r) indices.push_back(r % 7 == 3 ? o.ignore_index : int64_t(random() % uint64_t(columns)));
            target.values = {};
            target.indices = indices.data();
            batch.indices = indices;
        }
        if (weighted) {
            for (int64_t r = 0; r < rows; ++r) sample_weight.push_back(T(r % 4) / 2);
            target.sample_weight = sample_weight.data();
            batch.sample_weight.assign(sample_weight.begin(), sample_weight.end());
        }
        if (o.ignores_missing && indices.empty()) {
            for (int64_t r = 0; r < rows; ++r) there.push_back(double(naive::there(o, batch, size_t(r))));
            target.there = there.data();
        }
    }
};

template <class T>
void compare(const naive::LossOptions<Reference<T>>& o, int64_t rows, int64_t columns, bool probabilities, bool weighted) {
    using R = Reference<T>;
    Problem<T> problem(o, rows, columns, probabilities, weighted);
    const auto loss = loss_from<T>(o, columns);
    const Matrix<T>& y = problem.y.matrix;
    Storage<T> dy(rows, columns);
    std::vector<double> partial(size_t(round_up(rows, loss_block) / loss_block) + 1, 1e300);
    CHECK(loss->ignores_missing() == o.ignores_missing);
    for (int64_t r = 0; r < int64_t(problem.there.size()); ++r) {
        const std::vector<Reference<T>> row = problem.values.row(r);
        const std::vector<T> as_they_lie(row.begin(), row.end());
        CHECK(loss->there(as_they_lie.data(), columns) == problem.there[size_t(r)], "%s: what is there of a row", o.kind.c_str());
    }
    const double denominator = loss->denominator(problem.target, rows, columns);
    loss->rows(y, problem.target, dy.matrix, denominator, partial.data());
    CHECK(partial.back() == 1e300);
    partial.pop_back();
    double value = 0;
    for (double p : partial) value += p;
    value = denominator == 0 ? 0 : value / denominator;

    std::vector<std::vector<R>> expected_dy;
    const R expected = naive::loss(o, problem.batch, expected_dy), d = naive::denominator(o, problem.batch);
    const double eps = std::numeric_limits<T>::epsilon();
    // Every term is right to some 60 eps (e^y with |y| up to some ten: |y| eps, and the elementary functions' 3 ulp), the
    // sums add `columns` roundings each. Terms of both signs meet in NLLLoss and in Q log Σ e^y - Σ q y, whose sizes are
    // about 10 weights.
    R size = 0;
    for (int64_t r = 0; r < rows; ++r) size += 10 * naive::pick(problem.batch.sample_weight, size_t(r)) * R(columns);
    const double bound = (60 + double(columns)) * eps * (std::fabs(double(expected)) + (d == 0 ? 0 : double(size / d) / 4));
    CHECK(std::fabs(denominator - double(d)) <= 1e-12 * std::fabs(double(d)), "%s: denominator %g, not %g", o.kind.c_str(), denominator, double(d));
    CHECK(std::fabs(value - double(expected)) <= bound, "%s, %ld x %ld: %.9g, not %.9g", o.kind.c_str(), long(rows), long(columns), value, double(expected));
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c) {
            const R e = expected_dy[size_t(r)][size_t(c)];
            // a slope is a difference of terms of at most 8 in size (|e| for MSELoss), over the denominator
            const R terms = d == 0 ? R(0) : 8 * naive::pick(problem.batch.sample_weight, size_t(r)) / d;
            CHECK(std::fabs(R(dy.matrix.at(r, c)) - e) <= (60 + double(columns)) * eps * (std::fabs(e) + terms),
                  "%s, %ld x %ld at (%ld, %ld): dy %.9g, not %.9g", o.kind.c_str(), long(rows), long(columns), long(r), long(c),
                  double(dy.matrix.at(r, c)), double(e));
        }
    CHECK(dy.padding_zero(), "%s, %ld x %ld", o.kind.c_str(), long(rows), long(columns));
    CHECK(dy.guard_intact() && problem.y.guard_intact());

    // the value alone has the same bits; so have slices, and dy over y
    std::vector<double> again(partial.size());
    loss->rows(y, problem.target, Matrix<T>(), denominator, again.data());
    CHECK(again == partial, "%s: the value without the gradient", o.kind.c_str());
    Storage<T> dy2 = problem.y;
    const int64_t cut = (rows / 2 + 15) / 16 * 16 < rows ? (rows / 2 + 15) / 16 * 16 : 0;
    for (auto [begin, end] : {std::pair<int64_t, int64_t>{0, cut}, {cut, rows}})
        loss->rows(dy2.matrix.slice(begin, end), problem.target.slice(begin, end), dy2.matrix.slice(begin, end), denominator,
                  again.data() + begin / loss_block);
    CHECK(again == partial, "%s: slices", o.kind.c_str());
    for (int64_t r = 0; r < rows; ++r) CHECK(dy2.row(r) == dy.row(r), "%s, %ld x %ld: slices, in place", o.kind.c_str(), long(rows), long(columns));
}

template <class T>
void compare_all() {
    for (int64_t columns : {1, 2, 3, 7, 8, 9, 10, 16, 17, 25, 33, 50, 64, 100})
        for (int64_t rows : {1, 3, 7, 16, 17, 33, 100})
            for (bool weighted : {false, true}) {
                for (const auto& o : variants<Reference<T>>(columns)) {
                    compare<T>(o, rows, columns, false, weighted);
                    if (o.kind == "CrossEntropyLoss") compare<T>(o, rows, columns, true, weighted);
                }
                for (const auto& o : variants_with_missing<Reference<T>>(columns)) {
                    compare<T>(o, rows, columns, true, weighted);
                    if (o.kind == "CrossEntropyLoss") compare<T>(o, rows, columns, false, weighted);
                }
            }
}

TEST("all losses agree with their naive twins, float") { compare_all<float>(); }
TEST("all losses agree with their naive twins, double") { compare_all<double>(); }

TEST("the naive gradients are the slopes of the naive values") {
    using R = long double;
    const int64_t rows = 5, columns = 4;
    const R h = 1e-6L;
    for (const auto& o : variants<R>(columns))
        for (bool probabilities : {false, true}) {
            if (o.kind == "NLLLoss" && probabilities) continue;
            naive::Batch<R> batch = Problem<double>(o, rows, columns, probabilities, true).batch;
            batch.y[0][0] += 0.1L;  // away from the kink
            std::vector<std::vector<R>> dy, unused;
            naive::loss(o, batch, dy);
            for (size_t r = 0; r < size_t(rows); ++r)
                for (size_t c = 0; c < size_t(columns); ++c) {
                    naive::Batch<R> above = batch, below = batch;
                    above.y[r][c] += h, below.y[r][c] -= h;
                    const R slope = (naive::loss(o, above, unused) - naive::loss(o, below, unused)) / (2 * h);
                    CHECK(std::fabs(slope - dy[r][c]) < 1e-8L, "%s: %Lg, not %Lg", o.kind.c_str(), slope, dy[r][c]);
                }
        }
}

TEST("where every row is ignored, loss and gradient are 0") {
    Storage<float> y(3, 4), dy(3, 4);
    y.fill([](int64_t r, int64_t c) { return float(r + c); });
    const int64_t indices[] = {-100, -100, -100};
    Target<float> target{{}, indices, nullptr};
    for (const char* kind : {"CrossEntropyLoss", "NLLLoss"}) {
        const auto loss = loss_from<float>({.kind = kind}, 4);
        double partial;
        CHECK(loss->denominator(target, 3, 4) == 0);
        loss->rows(y.matrix, target, dy.matrix, 0.0, &partial);
        CHECK(partial == 0);
        for (int64_t r = 0; r < 3; ++r)
            for (int64_t c = 0; c < 4; ++c) CHECK(dy.matrix.at(r, c) == 0);
    }
}

TEST("a class index out of range is ignored, and nothing is read out of bounds") {
    const int64_t rows = 5, columns = 3, far = int64_t(1) << 40;
    std::vector<float> y{1, 2, 3, 0, 1, 0, 2, 2, 1, 4, 3, 0, 1, 1, 1};
    for (const char* kind : {"CrossEntropyLoss", "NLLLoss"})
        for (double smoothing : {0.0, 0.1})
            for (bool weighted : {false, true}) {
                naive::LossOptions<double> options{.kind = kind, .label_smoothing = smoothing};
                if (weighted) options.weight = {1, 2, 3};
                const auto loss = loss_from<float>(options, columns);
                std::vector<int64_t> strange{0, 3, -1, far, 2}, ignored{0, -100, -100, -100, 2};
                std::vector<double> value;
                std::vector<std::vector<float>> slope;
                for (const auto& indices : {strange, ignored}) {
                    Storage<float> m(rows, columns), d(rows, columns, 0);
                    m.fill([&](int64_t r, int64_t c) { return y[size_t(r * columns + c)]; });
                    Target<float> target{};
                    target.indices = indices.data();
                    double partial = 0;
                    const double denominator = loss->denominator(target, rows, columns);
                    loss->rows(m.matrix, target, d.matrix, denominator, &partial);
                    value.push_back(partial / denominator);
                    slope.push_back(d.memory);
                }
                CHECK(value[0] == value[1] && slope[0] == slope[1] && std::isfinite(value[0]));
            }
}

TEST("large logits neither overflow nor lose the loss") {
    Storage<float> y(1, 3), dy(1, 3);
    y.fill([](int64_t, int64_t c) { return c == 0 ? 1000.0f : -1000.0f; });
    const int64_t index[] = {1};
    const auto loss = loss_from<float>({.kind = "CrossEntropyLoss"}, 3);
    double partial;
    loss->rows(y.matrix, Target<float>{{}, index, nullptr}, dy.matrix, 1.0, &partial);
    CHECK(partial == 2000 && dy.matrix.at(0, 0) == 1 && dy.matrix.at(0, 1) == -1 && dy.matrix.at(0, 2) == 0);
}

TEST("a NaN in y makes the loss and its slope NaN") {
    for (const auto& o : variants<double>(10))
        for (int64_t at = 0; at < 10; ++at) {
            Problem<float> problem(o, 16, 10, false, false);
            // NLLLoss looks at the target alone
            const int64_t column = o.kind == "NLLLoss" ? problem.target.indices[5] : at;
            problem.y.matrix.at(5, column) = std::numeric_limits<float>::quiet_NaN();
            Storage<float> dy(16, 10);
            double partial;
            loss_from<float>(o, 10)->rows(problem.y.matrix, problem.target, dy.matrix, 1.0, &partial);
            CHECK(std::isnan(partial), "%s", o.kind.c_str());
            if (o.kind != "NLLLoss") CHECK(std::isnan(dy.matrix.at(5, column)), "%s", o.kind.c_str());
        }
}

TEST("what y says where the target is missing changes no bit, and its slope is 0") {
    const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
    for (int64_t columns : {3, 12, 40})
        for (const auto& o : variants_with_missing<double>(columns))
            for (bool weighted : {false, true}) {
                Problem<float> problem(o, 33, columns, true, weighted);
                const auto loss = loss_from<float>(o, columns);
                const double denominator = loss->denominator(problem.target, 33, columns);
                Storage<float> dy(33, columns), again(33, columns);
                double partial[3], other[3];
                loss->rows(problem.y.matrix, problem.target, dy.matrix, denominator, partial);
                for (int64_t r = 0; r < 33; ++r)
                    for (int64_t c = 0; c < columns; ++c) {
                        const bool missing = o.of_classes() ? problem.there[size_t(r)] == 0 : std::isnan(problem.values.matrix.at(r, c));
                        if (!missing) continue;
                        problem.y.matrix.at(r, c) = c % 3 == 0 ? nan : c % 3 == 1 ? inf : 1e30f;
                        CHECK(dy.matrix.at(r, c) == 0, "%s", o.kind.c_str());
                    }
                loss->rows(problem.y.matrix, problem.target, again.matrix, denominator, other);
                for (int b = 0; b < 3; ++b) CHECK(other[b] == partial[b] && std::isfinite(partial[b]), "%s", o.kind.c_str());
                for (int64_t r = 0; r < 33; ++r) CHECK(again.row(r) == dy.row(r), "%s", o.kind.c_str());
            }
}

TEST("where nothing is missing the bits are those of a loss that does not ask") {
    for (int64_t columns : {3, 12, 40})
        for (const auto& o : variants<double>(columns))
            for (bool weighted : {false, true}) {
                if (o.kind == "NLLLoss") continue;
                Problem<float> problem(o, 33, columns, true, weighted);
                Target<float> target = problem.target;
                naive::LossOptions<double> ignoring = o;
                ignoring.ignores_missing = true;
                const auto plain = loss_from<float>(o, columns), asking = loss_from<float>(ignoring, columns);
                const std::vector<double> there(33, o.of_classes() ? 1 : double(columns));
                const double denominator = plain->denominator(target, 33, columns);
                Storage<float> dy(33, columns), again(33, columns);
                double partial[3], other[3];
                plain->rows(problem.y.matrix, target, dy.matrix, denominator, partial);
                target.there = there.data();
                CHECK(asking->denominator(target, 33, columns) == denominator, "%s", o.kind.c_str());
                asking->rows(problem.y.matrix, target, again.matrix, denominator, other);
                for (int b = 0; b < 3; ++b) CHECK(other[b] == partial[b], "%s", o.kind.c_str());
                for (int64_t r = 0; r < 33; ++r) CHECK(again.row(r) == dy.row(r), "%s", o.kind.c_str());
            }
}

TEST("a denominator of infinity, or none at all, makes the gradient 0 and leaves the value") {
    const double inf = std::numeric_limits<double>::infinity(), none = std::numeric_limits<double>::quiet_NaN();
    for (int64_t columns : {3, 12, 20})
        for (const auto& o : variants<double>(columns))
            for (bool weighted : {false, true}) {
                Problem<float> problem(o, 33, columns, false, weighted);
                const auto loss = loss_from<float>(o, columns);
                Storage<float> dy(33, columns);
                double usual[3], partial[3];
                loss->rows(problem.y.matrix, problem.target, {}, 1.0, usual);
                for (double denominator : {0.0, inf, none}) {
                    loss->rows(problem.y.matrix, problem.target, dy.matrix, denominator, partial);
                    for (int b = 0; b < 3; ++b) CHECK(partial[b] == usual[b], "%s", o.kind.c_str());
                    for (int64_t r = 0; r < 33; ++r)
                        for (int64_t c = 0; c < columns; ++c) CHECK(dy.matrix.at(r, c) == 0, "%s", o.kind.c_str());
                }
            }
}

TEST("a loss that nobody knows, and one whose settings are not all there, are refused by name") {
    const auto refusal = [](const Settings& settings, int64_t columns) -> std::string {
        try {
            make_loss<float>(settings, columns);
        } catch (const std::invalid_argument& error) {
            return error.what();
        }
        return "";
    };
    CHECK(refusal({"HingeLoss", {}, {}, {}}, 3) == "the engine knows no loss called HingeLoss");
    CHECK(refusal({"HuberLoss", {{"mean", 1}}, {}, {}}, 3) == "HuberLoss: the plan does not say its delta");
    const naive::LossOptions<double> two{.kind = "CrossEntropyLoss", .weight = {1, 2}};
    CHECK(refusal(two.settings(), 3) == "CrossEntropyLoss: weight must hold 3 numbers, got 2");
}

}  // namespace

TEST_MAIN
