"""The inexact part of the codec: g_a, h_a, g_s and the restoration filter. No symbol that the
range decoder reads depends on it.
"""

import os

# Threads of a forked process may wait in MKL's allocator forever. Without its cache that is rarer;
# MKL is told before torch is imported, which no module of this package does before this one.
os.environ.setdefault("MKL_DISABLE_FAST_MM", "1")
