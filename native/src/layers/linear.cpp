// A unit of the engine (see CMakeLists.txt): the products of Linear for one type of number.
#include "linear.h"

namespace chainrule {
LINEAR(, NUMBER);
}
