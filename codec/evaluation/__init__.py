"""Evaluation of codecs by real files: rate, distortion and time.

subjects     pictures as all codecs get them           metrics    PSNR, MS-SSIM of pictures
coders       interface of a codec                      peers      JPEG, WebP, AVIF, JPEG XL, ...
ours         models of this codec, with their bits     measuring  cached measurements, a whole run
results      measurements, mean points, curves         published  published curves
bd_rate      Bjontegaard differences                   summary    differences, times, bytes by part
provenance   source, libraries and machine of a number
tables       the summary in Markdown                   report     the summary and pictures in HTML
"""
