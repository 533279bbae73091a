"""What exported C may be called, so that it meets no other name: files, functions, and whatever they stand beside."""

import re

# fmt: off
# Words of C up to C23 and of C++ up to C++23, and macros that a file named so is likely to meet.
_WORDS = {
    "alignas", "alignof", "and", "and_eq", "asm", "assert", "auto", "bitand", "bitor", "bool", "break", "case", "catch",
    "char", "char8_t", "char16_t", "char32_t", "class", "co_await", "co_return", "co_yield", "compl", "complex",
    "concept", "const", "const_cast", "consteval", "constexpr", "constinit", "continue", "decltype", "default",
    "delete", "do", "double", "dynamic_cast", "else", "enum", "errno", "explicit", "export", "extern", "false",
    "float", "for", "friend", "goto", "if", "inline", "int", "long", "main", "mutable", "namespace", "new", "noexcept",
    "noreturn", "not", "not_eq", "null", "nullptr", "offsetof", "operator", "or", "or_eq", "private", "protected",
    "public", "register", "reinterpret_cast", "requires", "restrict", "return", "short", "signed", "sizeof", "static",
    "static_assert", "static_cast", "stderr", "stdin", "stdout", "struct", "switch", "template", "this",
    "thread_local", "throw", "true", "try", "typedef", "typeid", "typename", "typeof", "typeof_unqual", "union",
    "unsigned", "using", "virtual", "void", "volatile", "wchar_t", "while", "xor", "xor_eq",
}
# Headers of C and POSIX, and those that theirs include in turn: a file of that name beside them would be found first.
_HEADERS = {
    "aio", "alloca", "assert", "byteswap", "complex", "cpio", "ctype", "dirent", "dlfcn", "elf", "endian", "errno",
    "fcntl", "features", "fenv", "float", "fmtmsg", "fnmatch", "ftw", "getopt", "glob", "grp", "iconv", "ieee754",
    "inttypes", "io", "iso646", "langinfo", "libgen", "libintl", "limits", "link", "locale", "malloc", "math", "memory",
    "monetary", "mqueue", "ndbm", "netdb", "nl_types", "paths", "poll", "process", "pthread", "pwd", "regex", "resolv",
    "sched", "search", "semaphore", "setjmp", "signal", "spawn", "stdalign", "stdarg", "stdatomic", "stdbit",
    "stdbool", "stdckdint", "stddef", "stdint", "stdio", "stdlib", "stdnoreturn", "string", "strings", "stropts",
    "syscall", "syslimits", "syslog", "tar", "termios", "tgmath", "threads", "time", "trace", "uchar", "ucontext",
    "ulimit", "unistd", "utime", "utmpx", "values", "wait", "wchar", "wctype", "windows", "wordexp",
}
# fmt: on
_FAMILIES = r"sem|pthread_.*|posix_.*"  # POSIX has functions such as sem_init and pthread_mutex_init


def refusal(name: object) -> str:
    """Why C must not be called so, as the end of a sentence; empty if it may."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        return "an identifier of C"
    small = name.lower()  # there are file systems that see no difference
    if small in _WORDS:
        return "an identifier of C that is no word or macro of C or C++"
    if small in _HEADERS:
        return f"another one than that of the system's header {small}.h, which {name}.h would hide"
    if re.fullmatch(_FAMILIES, small):
        return "another one than those of functions of POSIX"
    return ""


def name_from(text: str) -> str:
    """The name that is nearest to a text: what C does not allow becomes _, and what is left without one a network."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", text)
    return name if not refusal(name) else f"network_{name}".rstrip("_")
