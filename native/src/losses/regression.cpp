// A unit of the engine (see CMakeLists.txt): the losses of numbers for one type of number.
#include "regression.h"

namespace chainrule {
REGRESSION_LOSSES(, NUMBER);
}
