// A unit of the engine (see CMakeLists.txt): the losses of classes and probabilities for one type of number.
#include "classification.h"

namespace chainrule {
CLASSIFICATION_LOSSES(, NUMBER);
}
