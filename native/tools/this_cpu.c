// Prints which instruction sets this CPU can run, the best first: what CMake asks before it builds for this machine alone.
#include <stdio.h>

#include "../src/cpu.h"

int main(void) {
    const char* const* names = instruction_sets_of_this_cpu();
    for (int i = 0; names[i]; ++i) printf(i ? ";%s" : "%s", names[i]);
    return 0;
}
