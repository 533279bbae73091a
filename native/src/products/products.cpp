// A unit of the engine (see CMakeLists.txt): the products of Linear for one type of number.
#include "products.h"

namespace chainrule {
LINEAR(, NUMBER);
}
