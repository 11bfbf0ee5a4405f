"""Statements of the theory of rounding rate-distortion autoencoders, as experiments.

    python -m scripts.theory [FOLDER] [--model NAME|FILE]...

statements   both sides of each statement, from the code that trains and codes
__main__     a table for each
"""
