// A unit of the engine (see CMakeLists.txt): the optimizers for one type of number.
#include "optimizers.h"

namespace chainrule {
OPTIMIZERS(, NUMBER);
}
