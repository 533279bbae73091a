// A network in evaluation mode, in memory of its own: so a backward pass that is due stays possible. Values share a few
// cells of memory, each as long as somebody will read it.
#pragma once

#include <algorithm>
#include <vector>

#include "network.h"

namespace chainrule {

template <class T>
class Evaluation {
public:
    // Losses add up over so many rows; and so many pass through the network at once, unless its weights come from afar for each
    // chunk.
    static constexpr int64_t few_rows = 512 / int64_t(sizeof(T));

    explicit Evaluation(const Network<T>& network) : layers_(network.layers()), most_rows_(network.is_big() ? k_block : few_rows) {
        const Fusion& fusion = network.fusion();
        std::vector<int> last_read(fusion.slots.size(), -1), cell(fusion.slots.size(), -1);
        for (size_t n = 0; n < fusion.ops.size(); ++n)
            for (int s : fusion.ops[n].x) last_read[size_t(s)] = int(n);
        constexpr int forever = 1 << 30;
        for (int s : network.output_slots()) last_read[size_t(s)] = forever;
        std::vector<int> idle;
        auto take = [&](int s) {
            if (idle.empty()) idle.push_back(int(sizes_.size())), sizes_.push_back(0);
            cell[size_t(s)] = idle.back();
            idle.pop_back();
        };
        for (int s : network.input_slots()) {
            take(s);
            inputs_.push_back(view(fusion.slots[size_t(s)].shape, cell[size_t(s)]));
        }
        for (size_t n = 0; n < fusion.ops.size(); ++n) {
            const FusedOp& op = fusion.ops[n];
            const bool dies = last_read[size_t(op.x[0])] == int(n);
            if (op.y != op.x[0]) {  // else it lies there already
                if (op.x.size() == 1 && dies && layers_[n]->manners().works_in_place) cell[size_t(op.y)] = cell[size_t(op.x[0])];
                else take(op.y);
            }
            Step step;
            for (int s : op.x) step.x.push_back(view(fusion.slots[size_t(s)].shape, cell[size_t(s)]));
            step.y = view(fusion.slots[size_t(op.y)].shape, cell[size_t(op.y)]);
            steps_.push_back(std::move(step));
            for (size_t k = 0; k < op.x.size(); ++k) {
                const int s = op.x[k];
                const bool again = std::count(op.x.begin(), op.x.begin() + long(k), s) > 0;
                const bool is_inputs = size_t(cell[size_t(s)]) < inputs_.size();  // kept: gathering does not write the padding
                if (!again && !is_inputs && last_read[size_t(s)] == int(n) && cell[size_t(s)] != cell[size_t(op.y)]) idle.push_back(cell[size_t(s)]);
            }
        }
        for (int s : network.output_slots()) outputs_.push_back(view(fusion.slots[size_t(s)].shape, cell[size_t(s)]));
        for (const View& v : outputs_) matrices_.push_back(v.matrix);
    }

    void lay_out(Arena& arena) {
        std::vector<T*> cells;
        for (int64_t size : sizes_) cells.push_back(arena.take<T>(size));
        auto place = [&](View& v) { v.matrix.data = cells[size_t(v.cell)]; };
        for (View& v : inputs_) place(v);
        for (View& v : outputs_) place(v);
        for (Step& step : steps_) {
            for (View& v : step.x) place(v);
            place(step.y);
            step.matrices.clear();
            for (const View& v : step.x) step.matrices.push_back(v.matrix);
        }
        for (size_t k = 0; k < outputs_.size(); ++k) matrices_[k] = outputs_[k].matrix;
    }

    // How many of the rows that are left pass next. One row alone takes other kernels, whose sums have another order: the last one
    // does so if it is alone in chunks of a few rows, in larger ones too.
    int64_t next(int64_t left) const {
        const int64_t n = left < most_rows_ ? left : most_rows_;
        return n > few_rows && n % few_rows == 1 ? n - 1 : n;
    }
    // Where so many rows are to be written before run(rows).
    Matrix<T> input(size_t i, int64_t rows) {
        Matrix<T> m = inputs_[i].matrix;
        m.rows = rows;
        return m;
    }
    // The outputs, until the next call.
    const std::vector<Matrix<T>>& run(int64_t rows) {
        for (size_t n = 0; n < steps_.size(); ++n) {
            Step& step = steps_[n];
            for (size_t k = 0; k < step.x.size(); ++k) step.matrices[k].rows = rows * step.x[k].positions;
            step.y.matrix.rows = rows * step.y.positions;
            layers_[n]->infer(step.matrices.data(), step.y.matrix);
        }
        for (Matrix<T>& m : matrices_) m.rows = rows;
        return matrices_;
    }

private:
    struct View {
        int cell = 0;
        int64_t positions = 1;
        Matrix<T> matrix;
    };
    struct Step {
        std::vector<View> x;
        View y;
        std::vector<Matrix<T>> matrices;  // of x
    };
    View view(const ValueShape& shape, int cell) {
        View v;
        v.cell = cell;
        v.positions = shape.positions;
        v.matrix = Matrix<T>(nullptr, checked_product(most_rows_, shape.positions), shape.columns);
        const int64_t size = matrix_size<T>(v.matrix.rows, shape.columns) + matrix_size<T>(v.matrix.rows, 1);
        sizes_[size_t(cell)] = std::max(sizes_[size_t(cell)], size);
        return v;
    }

    const std::vector<Layer<T>*>& layers_;
    int64_t most_rows_;
    std::vector<int64_t> sizes_;  // of the cells
    std::vector<View> inputs_, outputs_;
    std::vector<Step> steps_;
    std::vector<Matrix<T>> matrices_;  // of the outputs
};

}  // namespace chainrule
