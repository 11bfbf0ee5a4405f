"""The whole flow: picture to bytes and back.

picture -> boxes -> g_a, gain -> y -> h_a -> z -> [exact prior, range coder] -> container
picture <- boxes <- g_s, gain^-1 <- y^  <-  [exact prior, range coder]  <- container

codec         what users call: `Codec`, `compress`, `decompress`
options       what a caller may ask of the encoder
encoding      one picture's tiles at any rate      decoding   windows of a picture from its tiles
tile_coder    one tile: the one place where pixels become a stream and the other way round
compensation  latents that make up for what rounding did
refinement    the search for better symbols than those of rounding
restoration   least squares for the weights of the restoration filter
targets       a size or a PSNR met        rate_target   the search for a level over any quantity
workers       tiles on several threads
"""

from codec.pipeline.codec import (
    DEFAULT_QUALITY,
    Codec,
    Compressed,
    Encoded,
    compress,
    decompress,
)

__all__ = ["DEFAULT_QUALITY", "Codec", "Compressed", "Encoded", "compress", "decompress"]
