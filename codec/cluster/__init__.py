"""The codec on a Ray cluster: data sets of pictures to data sets of files, and back.

coding      stages on a Ray data set     execution  a function on the items of a list
connection  start or join a cluster      manifest   what became of each file, in Parquet

Only this package imports ray, and does so when something is run.
"""

from codec.cluster.coding import compress, decompress

__all__ = ["compress", "decompress"]
