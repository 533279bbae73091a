"""What several kinds of ops need in C."""

COPY = """\
static void copy(const float *from, float *to, int n)
{
    int i;
    for (i = 0; i < n; i++)
        to[i] = from[i];
}
"""

ADD = """\
static void add(const float *from, float *to, int n)
{
    int i;
    for (i = 0; i < n; i++)
        to[i] += from[i];
}
"""

MULTIPLY = """\
static void multiply(const float *from, float *to, int n)
{
    int i;
    for (i = 0; i < n; i++)
        to[i] *= from[i];
}
"""

ZERO = """\
static void zero(float *x, int n)
{
    int i;
    for (i = 0; i < n; i++)
        x[i] = 0.0f;
}
"""
