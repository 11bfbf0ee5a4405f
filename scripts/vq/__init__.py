"""Rate and quality of a vector-quantised model, level by level and against another model.

    python -m scripts.vq FOLDER [--model NAME|FILE] [--against NAME|FILE]

levels       rate, PSNR and codebook usage at each number of levels
__main__     tables
"""
