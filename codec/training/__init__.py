"""Training: folders of photographs in, checkpoints and a weights file out; see README.md here.

photos        picture files -> pool of uint8 tiles -> random crops
shards        the same from tar files of pictures, read as streams
variation     random changes to crops: resizing, development, grain, JPEG
level_maps    levels that vary over a crop
schedule      learning rate, crop size and surrogate as functions of progress
optimiser     Adam for the networks, gradient descent by class for centres
codebooks     usage statistics of centres, restarts of dead ones
checkpoint    exact state on disk
loop          the training run
devices       where it runs: one process per device
run_folder    files of a run, and the checkpoint where it continues
interruption  signals, handled at step boundaries
run_log       JSON lines and TensorBoard events
validation    rate and distortion with rounded latents on held-out pictures
noisy_rate    rate of noisy latents, a bound on the mutual information
calibration   tables of y and curvatures, fitted to a trained model
hyper_tables  tables of z by context, fitted likewise
kernels       kernels of the restoration filter, fitted likewise
export        checkpoint -> exact tables and weights file
initial       weights file -> start of a new run
extra         check that the optional dependencies are installed
"""
