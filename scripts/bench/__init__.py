"""Speed and memory of the codec by stage, size of picture and threads, and of others.

python -m scripts.bench [--sizes 0.4,4] [--threads 1,2] [--out FILE] [PICTURE]

    __main__   rounds of measurements, tables          results    samples, JSON, comparison of runs
    stages     stages in one process, warm             children   whole processes
    pictures   pictures of any size                    classic    the 5x5 + GDN model
    avif       AVIF through Pillow                     installation    size of what is installed

Series are the codec with ONNX Runtime, the same with torch, the 5x5 + GDN model, and AVIF at the
PSNR of the first. Each round measures every series once, so that a temporary slowdown of the
machine affects all alike. Medians and ratios are over rounds.
"""
