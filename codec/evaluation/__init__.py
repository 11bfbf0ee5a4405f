"""Measuring the real thing: bytes of real files, pictures decoded from them.

results      records: a measurement, mean points, curves, a whole evaluation
subjects     pictures, as every codec gets them       metrics    PSNR, MS-SSIM
coders       what a codec is here                     ours       models of ours, and their bits
peers        JPEG, WebP, AVIF, JPEG 2000, JPEG XL     measuring  the run, resumable
bd_rate      Bjontegaard differences                  published  curves (published.json: Kodak)
provenance   what a number depends on: source, libraries, the machine
summary      differences, times, bytes against theory tables     those in Markdown
report       those and pictures on a page, in HTML
"""
