"""The learned part, in torch: transforms, hyperprior, densities and the objective.

    x --g_a--> y --gain--> y' --round(y' - mu)--> q          (analysis, `transforms`, `rate`)
                     |
                    h_a --> z --round--> z^ --h_s--> mu, sigma    (`hyperprior`)
    x^ <--g_s-- y'^/gain <-- y'^ = q + mu

`autoencoder.RoundingAutoencoder` joins the pieces and is what training optimises and the
weights file stores. Inference takes only g_a, h_a and g_s from here: whatever the range
decoder depends on runs in `codec.runtime`, in exact arithmetic.
"""
