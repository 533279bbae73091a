// A unit of the engine (see CMakeLists.txt): the losses of classes for one type of number.
#include "losses.h"

namespace chainrule {
CLASS_LOSSES(, NUMBER);
}
