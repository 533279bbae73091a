// What the tests need of a framework: named cases, checks that say what came, and a count at the end.
//
//     TEST("backward gathers the bias over rows") { CHECK(a == b, "row %d", r); }
#pragma once

#include <cstdio>
#include <cstring>
#include <vector>

namespace check {

struct Case {
    const char* name;
    void (*body)();
};
inline std::vector<Case>& cases() {
    static std::vector<Case> all;
    return all;
}
struct Registration {
    Registration(const char* name, void (*body)()) { cases().push_back({name, body}); }
};
inline int failures = 0, checks = 0;

}  // namespace check

#define CHECK_JOIN_(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN_(a, b)
#define TEST(name) TEST_(name, CHECK_JOIN(test_on_line_, __LINE__))
#define TEST_(name, function)                                    \
    static void function();                                      \
    static const check::Registration CHECK_JOIN(registration_of_, function)(name, function); \
    static void function()

// The first failures are printed in full; a kernel that is wrong everywhere should not fill the screen.
#define CHECK(condition, ...)                                                        \
    do {                                                                             \
        ++check::checks;                                                             \
        if (!(condition) && ++check::failures <= 20) {                               \
            std::printf("  %s:%d: %s:", __FILE__, __LINE__, #condition);            \
            std::printf(" " __VA_ARGS__);                                            \
            std::printf("\n");                                                       \
        }                                                                            \
    } while (0)

// Runs the cases whose name contains the first argument, or all.
#define TEST_MAIN                                                                                          \
    int main(int count, char** arguments) {                                                                \
        for (const check::Case& c : check::cases()) {                                                      \
            if (count > 1 && !std::strstr(c.name, arguments[1])) continue;                                 \
            int before = check::failures;                                                                  \
            c.body();                                                                                      \
            std::printf("%s  %s\n", check::failures == before ? "ok  " : "FAIL", c.name);                  \
        }                                                                                                  \
        std::printf("%d checks, %d failures\n", check::checks, check::failures);                           \
        return check::failures != 0;                                                                       \
    }
