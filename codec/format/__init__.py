"""The .vqc container: bytes <-> fields, with checksums and limits, as FORMAT.md specifies."""
