// Networks drawn from a seed: forks that two or three read, skips, branches that meet again, shared parameters, several
// inputs and outputs, rows of several positions; and images, where somebody asks for them.
#pragma once

#include <algorithm>
#include <random>

#include "random_images.h"

struct Drawing {
    int ops = 12;           // about so many
    int widest = 24;        // columns
    double dropout = 0.3;   // of Dropout; 0: none of it, so that training and evaluation mode are the same
    bool smooth = false;    // no ReLU: no kinks
    int64_t positions = 0;  // of the largest image; 0: there are none
    bool batch_norm = false;  // some: rows depend on each other in training
};

inline chainrule::Plan random_plan(uint64_t seed, chainrule::DType dtype, Drawing how = {}) {
    std::mt19937_64 rng(seed);
    const auto below = [&](size_t n) { return int(rng() % n); };
    const auto width = [&] {
        static const int borders[] = {1, 2, 7, 8, 9, 16, 17};
        const int any = 1 + below(size_t(how.widest));
        return below(3) ? any : std::min(borders[below(7)], how.widest);
    };
    Builder net(dtype);
    std::vector<int> values, products;
    const auto recent = [&] { return values[values.size() - 1 - size_t(std::min(below(4), int(values.size()) - 1))]; };
    const auto any = [&] { return below(2) ? recent() : values[size_t(below(values.size()))]; };
    const auto like = [&](int v) {  // the values of its shape
        std::vector<int> all;
        for (int other : values)
            if (net.shape(other).columns == net.shape(v).columns && net.shape(other).positions == net.shape(v).positions) all.push_back(other);
        return all;
    };
    Images images{net, rng, how.positions};
    const bool has_images = how.positions > 0;
    for (int i = 1 + below(3); i > 0; --i) values.push_back(net.input(width()));
    if (has_images) values.push_back(images.input(1 + below(3)));
    std::vector<std::string> activations{"ReLU", "ReLU", "Tanh", "Softmax", "LogSoftmax"};
    activations.insert(activations.end(), elementwise_kinds.begin(), elementwise_kinds.end());
    for (int i = 0; i < how.ops; ++i) {
        const int x = has_images && below(4) ? images.one_of(values) : any();
        if (how.batch_norm && below(3) == 0) {
            values.push_back(net.batch_norm(x, below(3) ? 0.1 : below(2) ? -1 : 1, below(4) > 0));
            continue;
        }
        if (has_images && below(3)) {
            const int y = images.draw(x, below(3) ? width() : 1);
            values.push_back(net.shape(y).columns <= 4 * how.widest ? y : net.linear(y, width()));
            continue;
        }
        switch (below(13)) {
            case 0: case 1: case 2: {
                products.push_back(net.linear(x, width(), below(4) > 0));
                values.push_back(products.back());
                break;
            }
            case 3: {  // the same parameters again, or a square one
                std::vector<int> fit;
                for (int p : products)
                    for (const chainrule::Op& op : net.plan.ops)
                        if (op.output == p && net.plan.parameters[size_t(op.parameters[0])].n_in == net.shape(x).columns) fit.push_back(p);
                values.push_back(fit.empty() ? net.linear(x, net.shape(x).columns) : net.linear_again(x, fit[size_t(below(fit.size()))]));
                if (fit.empty()) products.push_back(values.back());
                break;
            }
            case 4: case 5: case 6: {
                const std::string& kind = activations[size_t(below(activations.size()))];
                values.push_back(net.add(how.smooth && kind.ends_with("ReLU") ? "Tanh" : kind, {x}));
                break;
            }
            case 7: case 8: {  // a residual block, or whatever fits
                std::vector<int> parts = like(x);
                if (below(2) || parts.size() < 2) {
                    const int h = net.add(how.smooth ? "Tanh" : "ReLU", {net.linear(x, width())});
                    parts = {x, net.linear(h, net.shape(x).columns)};
                    values.push_back(h);
                    if (below(2)) std::swap(parts[0], parts[1]);
                } else {
                    std::shuffle(parts.begin(), parts.end(), rng);
                    parts.resize(size_t(2 + (parts.size() > 2 && below(2))));
                    if (below(8) == 0) parts.push_back(parts[0]);  // twice the same
                }
                const int y = net.add(below(4) ? "Sum" : "Multiply", parts);
                // products of products grow; they are kept small
                values.push_back(net.plan.ops.back().settings.kind == "Multiply" ? net.add("Tanh", {y}) : y);
                break;
            }
            case 9: {
                std::vector<int> parts{x};
                for (int v : values)
                    if (parts.size() < 3 && net.shape(v).positions == net.shape(x).positions && below(3) == 0) parts.push_back(v);
                int64_t columns = 0;
                for (int v : parts) columns += net.shape(v).columns;
                values.push_back(columns <= 4 * how.widest ? net.concat(parts) : net.linear(x, width()));
                break;
            }
            case 10: {
                const int64_t size = net.shape(x).size();
                std::vector<int64_t> divisors;
                for (int64_t d = 1; d <= size && d <= 12; ++d)
                    if (size % d == 0 && d != net.shape(x).positions && size / d <= 4 * how.widest) divisors.push_back(d);
                if (!divisors.empty() && below(2)) {
                    values.push_back(net.reshape(x, divisors[size_t(below(divisors.size()))]));
                } else if (net.shape(x).positions == 1) {
                    std::vector<int> columns(static_cast<size_t>(size));
                    std::iota(columns.begin(), columns.end(), 0);
                    std::shuffle(columns.begin(), columns.end(), rng);
                    values.push_back(net.permute(x, columns));
                } else {
                    values.push_back(net.linear(x, width()));
                }
                break;
            }
            case 11: {
                const int h = net.shape(x).columns % 2 ? net.linear(x, 2 * width()) : x;
                values.push_back(net.glu(h));
                break;
            }
            default: values.push_back(how.dropout > 0 ? net.dropout(x, how.dropout, below(3) == 0) : net.add("Tanh", {x}));
        }
    }
    // Heads: mostly on what comes last, sometimes on what others read too; of one position.
    for (int i = 1 + below(3); i > 0; --i) {
        int y = below(3) ? values.back() : has_images ? images.one_of(values) : any();
        if (net.shape(y).positions > 1) y = has_images && below(2) ? net.channels_first(y) : net.reshape(y, 1);
        if (net.shape(y).columns > how.widest || below(2)) y = net.linear(y, width());
        const bool known = std::count(net.plan.outputs.begin(), net.plan.outputs.end(), y) > 0;
        net.head(known && below(2) ? net.linear(y, width()) : y, below(3) ? "MSELoss" : "CrossEntropyLoss", below(2) ? 1 : 0.3 + below(3));
        values.push_back(y);
    }
    net.optimizer("SGD");
    net.close();
    net.plan.seed = seed;
    return net.plan;
}
