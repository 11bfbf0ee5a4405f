"""The inexact part of the codec: g_a, h_a, g_s and the restoration filter. No symbol that the
range decoder reads depends on it.
"""
