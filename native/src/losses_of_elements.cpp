// A unit of the engine (see CMakeLists.txt): the losses of elements for one type of number.
#include "losses.h"

namespace chainrule {
ELEMENT_LOSSES(, NUMBER);
}
