"""The learned part, in torch: transforms, hyperprior, densities and the objective.

    x --g_a--> y --gain--> y' --round(y' - mu)--> q          (analysis, `transforms`, `rate`)
                     |
                    h_a --> z --round--> z^ --h_s--> mu, sigma    (`hyperprior`)
    x^ <--g_s-- y'^/gain <-- y'^ = q + mu

    x --g_a--> L --nearest centres--> k --look up--> L^ --g_s--> x^      (`vector_quantizer`)
                                      |
                                  P(k | lower levels, neighbours)        (`index_prior`)

`autoencoder.RoundingAutoencoder` and `vector_autoencoder.VectorAutoencoder` are what training
optimises and weights files store; `build` chooses by configuration. Inference uses g_a, h_a and g_s
only: everything that the range decoder depends on runs in `codec.entropy`, in exact arithmetic.
"""
