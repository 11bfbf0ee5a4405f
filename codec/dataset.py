"""Data sets of .vqc files, to train networks on them as they are.

    loader = DataLoader(VqcDataset("s3://bucket/coded"), batch_size=16, num_workers=4)
    shards = webdataset.WebDataset("shard-{000..099}.tar").decode(vqc_handler)

Neither torch nor webdataset is imported here: both take what has the right methods. Workers that
decode side by side want one thread each: set OMP_NUM_THREADS=1 before they start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.api import decompress
from codec.errors import CodecError, InputError
from codec.files import files_in, is_folder, open_file
from codec.url import Place, Url, place_of

SUFFIX = ".vqc"

Transform = Callable[[Image.Image], Any]


def decode(data: bytes, model: str | Path | None = None) -> NDArray[np.uint8]:
    """Samples of a file as networks take them: RGB, uint8 [3, H, W].

    Grey becomes RGB, and transparency is left out.

    Args:
        data: the file.
        model: of the file, if it is not among the installed ones.

    Raises:
        CodecError: as of `codec.decompress`.
    """
    image = decompress(data, model).convert("RGB")
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def vqc_handler(key: str, data: bytes) -> NDArray[np.uint8] | None:
    """Decode the parts of a webdataset sample that are .vqc files, as `decode` does.

    Args:
        key: name of the part, which ends in its suffix.
        data: its content.

    Returns:
        None for parts of other kinds, which leaves them to other handlers.
    """
    return decode(data) if key.lower().endswith(SUFFIX) else None


class VqcDataset:
    """A map-style data set, as `torch.utils.data.DataLoader` takes it.

    The model is loaded once in each process that decodes.

    Args:
        sources: files and folders, by path or URL.
        transform: from a Pillow image to an item, such as those of torchvision; None for `decode`.
        model: of the files, if it is not among the installed ones.

    Raises:
        InputError: there is no file, or a folder cannot be read.
    """

    def __init__(
        self,
        sources: str | Place | Sequence[str | Place],
        transform: Transform | None = None,
        model: str | Path | None = None,
    ) -> None:
        several = [sources] if isinstance(sources, str | Path | Url) else sources
        places = [place_of(s) if isinstance(s, str) else s for s in several]
        self.files: list[Place] = []
        """The files, in order of the sources and of their names."""
        for place in places:
            self.files += files_in(place, {SUFFIX}) if is_folder(place) else [place]
        if not self.files:
            raise InputError(f"no {SUFFIX} files in {', '.join(map(str, places))}")
        self._transform, self._model = transform, model

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        place = self.files[index]
        try:
            with open_file(place) as file:
                data = file.read()
            if self._transform is None:
                return decode(data, self._model)
            return self._transform(decompress(data, self._model))
        except CodecError as error:
            message = str(error)
            named = message if message.startswith(f"{place}: ") else f"{place}: {message}"
            raise type(error)(named, field=error.field) from error
