// Where windows lie that slide over an image, along any number of axes, and which positions have a part in which: tables of
// numbers of positions, the last axis fastest, as Python's rules tell the engine.
#pragma once

#include <cstdint>
#include <vector>

struct Axis {
    int64_t length, kernel = 1, stride = 1, dilation = 1, padding = 0;

    int64_t reach() const { return (kernel - 1) * dilation + 1; }
    int64_t windows() const { return (length + 2 * padding - reach()) / stride + 1; }
};
using Axes = std::vector<Axis>;

// Which positions of x have a part in each of y: sources[begins[i]] … sources[begins[i + 1] - 1], each with a weight.
struct Table {
    std::vector<double> begins{0}, sources, weights;

    int64_t targets() const { return int64_t(begins.size()) - 1; }
    void add(int64_t source, double weight = 1) { sources.push_back(double(source)), weights.push_back(weight); }
    void end_target() { begins.push_back(double(sources.size())); }
};

// For each place along one axis of y those along x.
using Along = std::vector<std::vector<int64_t>>;

inline Table table(const std::vector<Along>& axes, const std::vector<int64_t>& lengths) {
    Along all{{0}};
    for (size_t a = 0; a < axes.size(); ++a) {
        Along next;
        for (const auto& before : all)
            for (const auto& along : axes[a]) {
                next.emplace_back();
                for (int64_t p : before)
                    for (int64_t q : along) next.back().push_back(p * lengths[a] + q);
            }
        all = next;
    }
    Table found;
    for (const auto& sources : all) {
        for (int64_t s : sources) found.add(s);
        found.end_target();
    }
    return found;
}

inline std::vector<int64_t> lengths_of(const Axes& axes) {
    std::vector<int64_t> lengths;
    for (const Axis& axis : axes) lengths.push_back(axis.length);
    return lengths;
}

// What each window sees: of its padding nothing.
inline Table seen(const Axes& axes) {
    std::vector<Along> all;
    for (const Axis& axis : axes) {
        all.emplace_back(size_t(axis.windows()));
        for (int64_t i = 0; i < axis.windows(); ++i)
            for (int64_t k = 0; k < axis.kernel; ++k) {
                const int64_t at = i * axis.stride + k * axis.dilation - axis.padding;
                if (at >= 0 && at < axis.length) all.back()[size_t(i)].push_back(at);
            }
    }
    return table(all, lengths_of(axes));
}

// A convolution's windows (without padding): where they begin, and where its taps lie from there.
inline std::vector<double> begins_of(const Axes& axes) {
    std::vector<Along> all;
    for (const Axis& axis : axes) {
        all.emplace_back();
        for (int64_t i = 0; i < axis.windows(); ++i) all.back().push_back({i * axis.stride});
    }
    return table(all, lengths_of(axes)).sources;
}
inline std::vector<double> taps_of(const Axes& axes) {
    std::vector<Along> all;
    for (const Axis& axis : axes) {
        all.emplace_back();
        for (int64_t k = 0; k < axis.kernel; ++k) all.back().push_back({k * axis.dilation});
    }
    return table(all, lengths_of(axes)).sources;
}

// An image with `padding` more on either side of each axis: nothing there, or what lies at the border, mirrored at it (of
// less than the axis is long), or going around.
enum class Around { nothing, border, mirror, circle };

inline Table padded(const Axes& axes, Around how) {
    std::vector<Along> all;
    for (const Axis& axis : axes) {
        const int64_t n = axis.length;
        all.emplace_back();
        for (int64_t i = -axis.padding; i < n + axis.padding; ++i) {
            const bool inside = i >= 0 && i < n;
            if (inside) all.back().push_back({i});
            else if (how == Around::nothing) all.back().emplace_back();
            else if (how == Around::border) all.back().push_back({i < 0 ? 0 : n - 1});
            else if (how == Around::mirror) all.back().push_back({i < 0 ? -i : 2 * (n - 1) - i});
            else all.back().push_back({(i + n) % n});
        }
    }
    return table(all, lengths_of(axes));
}
