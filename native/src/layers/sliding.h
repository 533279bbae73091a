// Where windows lie that slide over positions, in any number of dimensions: Python's geometry (engine/rules/) as tables.
#pragma once

#include <algorithm>
#include <vector>

#include "layers.h"

namespace chainrule {

// Whole numbers that a plan says, each at least 0 and less than `bound`.
inline std::vector<int32_t> places(const Making& making, const char* name, int64_t bound) {
    std::vector<int32_t> found;
    for (double number : making.settings.array(name)) {
        if (!(number >= 0 && number < double(bound)) || number != double(int64_t(number))) making.refuse(std::string(name) + " must lie among " + std::to_string(bound) + " positions");
        found.push_back(int32_t(number));
    }
    return found;
}

// The windows of a convolution. Window i begins at position begins[i]; from there its taps lie at taps[t]. All lie inside:
// padding is an op of its own.
struct Sliding {
    std::vector<int32_t> begins, taps;

    Sliding(const Making& making, int64_t positions, int64_t windows)
        : begins(places(making, "windows", positions)), taps(places(making, "taps", positions)) {
        if (int64_t(begins.size()) != windows || taps.empty()) making.refuse("there must be a window for each position");
        for (size_t i = 1; i < begins.size(); ++i)
            if (begins[i] <= begins[i - 1]) making.refuse("its windows must come in the order of positions");
        run = run_of(begins), tap_run = run_of(taps);
        for (size_t i = size_t(run); i < begins.size(); i += size_t(run))
            if (begins[i] - begins[i - 1] < tap_run) tap_run = 1;  // where windows of two runs meet: on no image they do
        const int64_t last = int64_t(*std::max_element(begins.begin(), begins.end())) + *std::max_element(taps.begin(), taps.end());
        if (last >= positions) making.refuse("a window reaches over the end");
    }
    int64_t windows() const { return int64_t(begins.size()); }

    int64_t run, tap_run;  // so many windows, and so many taps, stand side by side, and again so many, to the last

private:
    static int64_t run_of(const std::vector<int32_t>& at) {
        size_t n = 1;
        while (n < at.size() && at[n] - at[n - 1] == 1) ++n;
        for (size_t i = 1; i < at.size(); ++i)
            if ((i % n == 0) == (at[i] - at[i - 1] == 1)) return 1;
        return at.size() % n == 0 ? int64_t(n) : 1;
    }
};

// Which positions of x have a part in each position of y: sources[begins[i]] … sources[begins[i + 1] - 1].
struct Sources {
    std::vector<int32_t> begins, sources;

    Sources() = default;
    Sources(const Making& making, int64_t from, int64_t to) : sources(places(making, "sources", from)) {
        begins = places(making, "begins", int64_t(sources.size()) + 1);
        if (int64_t(begins.size()) != to + 1 || begins[0] != 0 || begins.back() != int32_t(sources.size()) || !std::is_sorted(begins.begin(), begins.end()))
            making.refuse("begins must say where each position's sources begin");
    }
    // The other way round, with the place in `sources` of each entry: which positions of y a position of x has a part in.
    Sources turned(int64_t from, std::vector<int32_t>& entry) const {
        Sources back;
        back.begins.assign(size_t(from) + 1, 0);
        for (int32_t s : sources) ++back.begins[size_t(s) + 1];
        for (size_t i = 0; i < size_t(from); ++i) back.begins[i + 1] += back.begins[i];
        std::vector<int32_t> next(back.begins.begin(), back.begins.end() - 1);
        back.sources.resize(sources.size());
        entry.resize(sources.size());
        for (size_t i = 0; i + 1 < begins.size(); ++i)
            for (int32_t e = begins[i]; e < begins[i + 1]; ++e) {
                const size_t at = size_t(next[size_t(sources[size_t(e)])]++);
                back.sources[at] = int32_t(i), entry[at] = e;
            }
        return back;
    }
};

}  // namespace chainrule
