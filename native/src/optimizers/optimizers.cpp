// All optimizers: by the names of their classes in Python, and as a unit of the engine (see CMakeLists.txt), for one type
// of number.
#include "adagrad.h"
#include "adam.h"
#include "rmsprop.h"
#include "nadam.h"
#include "radam.h"
#include "adamax.h"
#include "adadelta.h"
#include "rprop.h"
#include "asgd.h"
#include "adafactor.h"
#include "muon.h"
#include "sgd.h"

namespace chainrule {

template <class T>
std::unique_ptr<Optimizer<T>> make_optimizer(const Settings& settings) {
    static constexpr struct {
        const char* kind;
        std::unique_ptr<Optimizer<T>> (*make)(const Settings&);
    } all[] = {
        {"SGD", make_sgd<T>},
        {"Adam", make_adam<T>},
        {"AdamW", make_adam<T>},
        {"RMSprop", make_rmsprop<T>},
        {"Adagrad", make_adagrad<T>},
        {"ASGD", make_asgd<T>},
        {"Rprop", make_rprop<T>},
        {"Adadelta", make_adadelta<T>},
        {"Adamax", make_adamax<T>},
        {"RAdam", make_radam<T>},
        {"NAdam", make_nadam<T>},
        {"Adafactor", make_adafactor<T>},
        {"Muon", make_muon<T>},
    };
    for (const auto& one : all)
        if (settings.kind == one.kind) return one.make(with_normal_options<T>(settings));
    throw std::invalid_argument("the engine has no optimizer " + settings.kind);
}

template std::unique_ptr<Optimizer<NUMBER>> make_optimizer<NUMBER>(const Settings&);

}  // namespace chainrule
