// The naive BatchNorm: columns standardized over all rows, in training; else by what training has followed.
#pragma once

#include <cmath>
#include <vector>

namespace naive {

struct BatchNorm {
    std::vector<double> mean, var;  // of each column
    bool through;                   // the rows made them
    double eps;
    size_t columns;

    BatchNorm(const std::vector<double>& x, size_t columns, double eps) : mean(columns), var(columns), through(true), eps(eps), columns(columns) {
        const double n = double(x.size() / columns);
        for (size_t i = 0; i < x.size(); ++i) mean[i % columns] += x[i] / n;
        for (size_t i = 0; i < x.size(); ++i) var[i % columns] += (x[i] - mean[i % columns]) * (x[i] - mean[i % columns]) / n;
    }
    BatchNorm(std::vector<double> mean, std::vector<double> var, double eps)
        : mean(std::move(mean)), var(std::move(var)), through(false), eps(eps), columns(this->mean.size()) {}

    double s(size_t c) const { return 1 / std::sqrt(var[c] + eps); }
    double x_hat(const std::vector<double>& x, size_t i) const { return (x[i] - mean[i % columns]) * s(i % columns); }

    // What training follows: the mean, the variance without bias, and the number of batches as low + 2^20 high.
    void follow(double momentum, double rows, std::vector<double>& running_mean, std::vector<double>& running_var, std::vector<double>& batches) const {
        if (++batches[0] == 1 << 20) batches = {0, batches[1] + 1};
        const double share = momentum < 0 ? 1 / (batches[0] + batches[1] * (1 << 20)) : momentum;
        for (size_t c = 0; c < columns; ++c) {
            running_mean[c] += share * (mean[c] - running_mean[c]);
            running_var[c] += share * (var[c] * rows / (rows - 1) - running_var[c]);
        }
    }
    // Adds to dx, dweight and dbias (where there is one).
    void backward(const std::vector<double>& x, const std::vector<double>& dy, const std::vector<double>& weight,
                  std::vector<double>& dx, std::vector<double>& dweight, std::vector<double>* dbias) const {
        const double n = double(x.size() / columns);
        std::vector<double> of_dy(columns), of_dy_x_hat(columns);
        for (size_t i = 0; i < x.size(); ++i) of_dy[i % columns] += dy[i], of_dy_x_hat[i % columns] += dy[i] * x_hat(x, i);
        for (size_t i = 0; i < x.size(); ++i) {
            const size_t c = i % columns;
            const double comes_back = through ? of_dy[c] / n + x_hat(x, i) * of_dy_x_hat[c] / n : 0;
            dx[i] += weight[c] * s(c) * (dy[i] - comes_back);
        }
        for (size_t c = 0; c < columns; ++c) {
            dweight[c] += of_dy_x_hat[c];
            if (dbias) (*dbias)[c] += of_dy[c];
        }
    }
};

}  // namespace naive
