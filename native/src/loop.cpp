// A unit of the engine (see CMakeLists.txt): the network and its loop for one type of number.
#include "loop.h"

namespace chainrule {
LOOP(, NUMBER);
}
