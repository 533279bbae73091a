// What random_plans.h draws of images. Any number of positions may be an image of one, two or three axes, and the next layer
// may see it otherwise: the engine knows tables, no axes.
#pragma once

#include <algorithm>
#include <random>

#include "plans.h"

struct Images {
    Builder& net;
    std::mt19937_64& rng;
    int64_t most;  // positions
    std::vector<int> convolutions = {};

    // An input, its channels first, and the image that it is.
    int input(int64_t channels) {
        const int64_t sizes[] = {1, 2, 12, 16, 27, 30, most, most, most};
        const int64_t positions = std::min(sizes[below(9)], most);
        return net.channels_last(net.input(channels * positions), positions);
    }

    // An image if there is one, most likely one of the last.
    int one_of(const std::vector<int>& values) {
        std::vector<int> all;
        for (int v : values)
            if (net.shape(v).positions > 1) all.push_back(v);
        if (all.empty()) return values.back();
        return all[all.size() - 1 - size_t(below(3) ? below(std::min<size_t>(all.size(), 2)) : below(all.size()))];
    }

    // Something for images, on a value of any shape.
    int draw(int x, int64_t n_out) {
        if (net.shape(x).positions == 1 && below(2)) return last(x);
        switch (below(14)) {
            case 0: case 1: case 2: return convolution(x, windows(x), n_out);
            case 3: return net.max_pool(x, pool(x));
            case 4: return net.max_pool(x, some(x, 1));
            case 5: return around(x);
            case 6: return net.positions(x, weighed(below(2) ? pool(x) : some(x, 0)), below(2) ? 0 : 0.5);
            case 7: return residual(x, n_out);
            case 8: return net.depthwise({x}, windows(x), below(3) > 0);
            case 9: return groups(x, n_out);
            case 10: return transposed(x, n_out);
            case 11: return normalized(x);
            case 12: return net.local_response(x, 1 + below(6));
            default: return net.shape(x).positions > 1 && net.shape(x).size() <= 4 * most ? net.channels_first(x) : convolution(x, windows(x), n_out);
        }
    }

private:
    int64_t below(size_t n) { return int64_t(rng() % n); }

    int last(int x) {
        const int64_t size = net.shape(x).size();
        std::vector<int64_t> divisors;
        for (int64_t d = 2; d <= std::min(size, most); ++d)
            if (size % d == 0) divisors.push_back(d);
        return divisors.empty() ? convolution(x, windows(x), 8) : net.channels_last(x, divisors[size_t(below(divisors.size()))]);
    }

    // Axes of an image, up to three of them.
    Axes axes(int64_t positions) {
        Axes found{{positions}};
        for (int64_t more = below(3); more > 0; --more) {
            const int64_t n = found.back().length;
            std::vector<int64_t> divisors;
            for (int64_t d = 1; d <= n; ++d)
                if (n % d == 0) divisors.push_back(d);
            const int64_t d = divisors[size_t(below(divisors.size()))];
            found.back().length = n / d;
            found.push_back({d});
        }
        return found;
    }
    // Windows of any size, of a point to all of the image; some of them further apart than they are long.
    Axes windows(int x) {
        Axes found = axes(net.shape(x).positions);
        for (Axis& axis : found) {
            const int64_t n = axis.length;
            axis.kernel = below(6) ? 1 + below(size_t(std::min<int64_t>(n, 3))) : n <= 12 ? n : 1;
            axis.dilation = axis.kernel > 1 && below(3) == 0 ? 1 + below(size_t((n - 1) / (axis.kernel - 1))) : 1;
            axis.stride = below(2) ? 1 : 1 + below(4);
        }
        return found;
    }

    // With kernels of its own, or of another one that fits.
    int convolution(int x, const Axes& axes, int64_t n_out) {
        const int64_t taps = int64_t(taps_of(axes).size());
        for (int other : convolutions)
            for (const chainrule::Op& op : net.plan.ops)
                if (op.output == other && below(2)) {
                    const chainrule::ParameterShape& shape = net.plan.parameters[size_t(op.parameters[0])];
                    if (shape.taps == taps && shape.n_in == taps * net.shape(x).columns) return net.convolution_again(x, axes, other);
                }
        convolutions.push_back(net.convolution(x, n_out, axes, below(4) > 0));
        return convolutions.back();
    }

    // What groups of channels see of x, each output one of theirs.
    int groups(int x, int64_t n_out) {
        const int64_t of_group = 1 + below(3);
        std::vector<int> seen;
        for (int64_t j = 0; j < of_group; ++j) {
            std::vector<int> sources;
            for (int64_t o = 0; o < n_out; ++o) sources.push_back(int(below(size_t(net.shape(x).columns))));
            seen.push_back(j > 0 && below(4) == 0 ? seen[0] : net.columns(x, sources));
        }
        return net.depthwise(seen, windows(x));
    }
    int normalized(int x) {
        const std::string kinds[] = {"LayerNorm", "RMSNorm", "GroupNorm"};
        std::vector<int64_t> groups;
        for (int64_t n = 1; n <= net.shape(x).columns; ++n)
            if (net.shape(x).columns % n == 0) groups.push_back(n);
        const std::string kind = kinds[below(3)];
        return net.normalization(kind, x, below(4) > 0, below(4) > 0, groups[size_t(below(groups.size()))]);
    }
    // An image of so many windows as x has positions.
    int transposed(int x, int64_t n_out) {
        Axes found = axes(net.shape(x).positions);
        int64_t positions = 1;
        for (Axis& axis : found) {
            const int64_t windows = axis.length;
            axis.kernel = 1 + below(3), axis.stride = 1 + below(2), axis.dilation = below(4) ? 1 : 2;
            axis.length = (windows - 1) * axis.stride + axis.reach();
            positions *= axis.length;
        }
        return positions <= 3 * most ? net.transposed(x, n_out, found, below(4) > 0) : convolution(x, windows(x), n_out);
    }

    // A pool's windows, with padding of which every window sees less than all.
    Table pool(int x) {
        Axes found = windows(x);
        for (Axis& axis : found)
            if (axis.dilation == 1) axis.padding = below(size_t(axis.kernel / 2 + 1));
        return seen(found);
    }
    // Any positions for so many others, in any order, the same one twice if it comes so; at least so many.
    Table some(int x, int64_t least) {
        Table found;
        for (int64_t i = 1 + below(size_t(most)); i > 0; --i) {
            for (int64_t n = least + below(4); n > 0; --n) found.add(below(size_t(net.shape(x).positions)));
            found.end_target();
        }
        return found;
    }
    // Weights that nothing makes the same, so that no two sums are equal but for rounding: a pool would see that.
    Table weighed(Table table) {
        for (double& weight : table.weights) weight = double(1 + below(1000)) / 1000;
        return table;
    }
    int around(int x) {
        Axes found = axes(net.shape(x).positions);
        int64_t positions = 1;
        for (Axis& axis : found) {
            axis.padding = below(size_t(std::min<int64_t>(axis.length, 3)));
            positions *= axis.length + 2 * axis.padding;
        }
        if (positions > 2 * most) return net.max_pool(x, pool(x));
        const Around all[] = {Around::nothing, Around::border, Around::mirror, Around::circle};
        return net.positions(x, padded(found, all[below(4)]), below(3) ? 0 : -0.5);
    }
    // x and a convolution of it, as large, which a ReLU may follow.
    int residual(int x, int64_t n_out) {
        Axes found = axes(net.shape(x).positions);
        for (Axis& axis : found) axis.padding = axis.length > 1 && below(3) ? 1 : 0;
        Axes around = found;
        for (Axis& axis : around) axis = {axis.length + 2 * axis.padding, 2 * axis.padding + 1};
        const int h = net.add("ReLU", {convolution(x, axes(net.shape(x).positions), n_out)});
        const int body = net.convolution(net.positions(h, padded(found, Around::nothing)), net.shape(x).columns, around);
        const int y = net.add("Sum", {x, body});
        return below(2) ? y : net.add("ReLU", {y});
    }
};
