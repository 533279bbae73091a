// A unit of the engine (see CMakeLists.txt): the activations for one type of number.
#include "activations.h"

namespace chainrule {
ACTIVATIONS(, NUMBER);
}
