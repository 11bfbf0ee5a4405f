"""Training: folders of photographs in, checkpoints and a weights file out.

photos        picture files -> pool of uint8 tiles -> random crops
schedule      learning rate, crop size and surrogate as functions of progress
optimiser     Adam for the networks, or Muon for their matrices; descent by class for centres
codebooks     usage of centres, and a new start for dead ones
checkpoint    exact state on disk
loop          the training run
run_folder    what its folder holds, and where it continues
interruption  signals, obeyed at step boundaries
run_log       JSON lines and TensorBoard events
validation    real rounded rate on held-out tiles
calibration   tables of y fitted to the symbols that a trained model rounds to
hyper_tables  tables of z fitted likewise, by context
kernels       of the restoration filter, fitted to what pictures want
export        checkpoint -> exact tables and weights file
initial       weights file -> start of a new run
"""
