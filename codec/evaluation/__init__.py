"""Evaluation of codecs by real files: rate, distortion and time.

subjects     pictures as all codecs get them           metrics      PSNR, MS-SSIM, SSIMULACRA 2, ...
coders       interface of a codec                      instruments  metrics by name, what they need
ours         models of this codec, with their bits     guards       colour shifts and meshes
peers        JPEG, WebP, AVIF, JPEG XL, ...            measuring    measurements and their cache
results      measurements, mean points, curves         published    published curves
bd_rate      Bjontegaard differences                   summary      differences, times, bytes
provenance   source, libraries, machine of a number    spread       medians, worst pictures
tables       the summary in Markdown                   report       summary and pictures in HTML
"""
