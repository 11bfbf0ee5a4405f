"""What runs at inference. All but the last three is numpy, and exact where it must be.

dyadic         layers whose float64 arithmetic is exact on every machine
exact_prior    h_s, heads and context built of them: symbols in, means and table numbers out
index_prior    the same for indices of centres: indices in, integer frequencies out
hyper_context  what z's neighbours say of a symbol, and the order in which z is coded
codebook       centres: choosing among them, looking them up
dead_zone      what the encoder rounds to 0 although 1 or -1 is nearer
tables         integer frequency tables that the range coder is driven by
weights        the weights file: load and verify
released       weights files by name or id, from their metadata alone
torch_engine   g_a, h_a, g_s and the restoration filter on torch; inexact, and allowed to be
distortion     the error that latents show, and its derivatives, for the search
dissimilarity  the same of what models for MS-SSIM minimise
"""
