"""Speed and memory of the codec, by stage, size of picture and threads, beside a classic model.

python -m scripts.bench [--sizes 0.4,4] [--threads 1,2] [--out FILE] [PICTURE]

    __main__   rounds of measurements, tables          results    samples, JSON, now against before
    stages     stages inside one process, warm         children   whole processes
    pictures   pictures of any size                    classic    the 5x5 + GDN model

Everything is measured in rounds, each thing once a round and both models side by side, so that
what slows the machine for a while slows all alike; medians and ratios are over rounds.
"""
