"""`vqcodec info` and `vqcodec models`: they load neither torch nor numpy."""

from __future__ import annotations

import json
from typing import Any

import click

from codec.cli.options import PATH, max_memory_option, message_of
from codec.cli.outcome import SOME_FAILED
from codec.cli.tasks import naming
from codec.cli.terminal import say, tell
from codec.errors import CodecError, ModelNotFoundError, one_line
from codec.files import open_file
from codec.format.container import ContainerFile
from codec.url import Place
from codec.weights.released import (
    RESEARCH_FILES,
    RESEARCH_MODELS,
    find_by_id,
    read_config,
    read_metadata,
    released_models,
    short_id_of,
)

ROUNDINGS = {"integer": "rounded to integers", "vq": "rounded to centres (vector quantised)"}
DISTORTIONS = {"mse": "MSE", "ms-ssim": "MS-SSIM", "looks": "looks"}


@click.command()
@click.argument("files", metavar="FILE...", type=PATH, nargs=-1, required=True)
@click.option("--check", is_flag=True, help="Verify every checksum.")
@max_memory_option
@click.option("--json", is_flag=True, help="A JSON line per file.")
def info(files: tuple[Place, ...], check: bool, max_memory: int, **options: bool) -> int:
    """Tell what compressed FILEs hold, without decoding them.

    What is told is verified. --check reads all the rest too and verifies every byte; the
    symbols themselves are verified when a file is decompressed.
    """
    status = 0
    for path in files:
        try:
            with naming(path), open_file(path, max_memory, parts=True) as data:
                file = ContainerFile(data)
                if check:
                    file.verify()
                facts = {"file": str(path)} | _facts(file) | ({"checked": True} if check else {})
        except CodecError as error:
            status = error.exit_code if len(files) == 1 else SOME_FAILED
            message = message_of(error)
            tell(f"vqcodec: {message}")
            facts = {"file": str(path), "error": message, "exit_code": error.exit_code}
            if options["json"]:
                say(json.dumps(facts))
            continue
        say(json.dumps(facts) if options["json"] else _text(facts))
    return status


@click.command()
@click.option("--json", is_flag=True, help="A JSON line per model.")
def models(**options: bool) -> None:
    """List the released models that are installed."""
    paths = released_models()
    for path in paths:
        metadata = read_metadata(path)
        config = read_config(metadata)
        facts = {
            "model": path.stem,
            "model_id": short_id_of(path).hex(),
            "rounding": config.rounding,
            "distortion": config.distortion,
            "lambda_min": config.lambda_min,
            "lambda_max": config.lambda_max,
            "bytes": path.stat().st_size,
            "file": str(path),
        }
        if options["json"]:
            say(json.dumps(facts))
        else:
            say(
                f"{path.stem} ({facts['model_id']}): lambda {config.lambda_min:g} to "
                f"{config.lambda_max:g}, {config.rounding} rounding, for "
                f"{DISTORTIONS[config.distortion]}, {facts['bytes']} bytes"
            )
    absent = sorted(RESEARCH_MODELS.keys() - {path.stem for path in paths})
    if absent and not options["json"]:
        file = RESEARCH_FILES.format("NAME")
        say(f"for research, not installed: {', '.join(absent)} (--model FILE, {file})")


def _facts(file: ContainerFile) -> dict[str, Any]:
    header = file.header
    tiles = file.tile_sections()
    coded = sum(tile.length for tile in tiles) - file.alpha_bytes
    patches = sum(patch.length for patch in file.patch_sections())
    metadata = {kind: section.length for kind, section in file.metadata_sections.items()}
    content = (
        coded
        + patches
        + file.alpha_bytes
        + header.restoration_bytes
        + header.map_bytes
        + sum(metadata.values())
    )
    facts: dict[str, Any] = {
        "version": header.version,
        "width": header.width,
        "height": header.height,
        "mode": header.mode,
        "bytes": file.size,
        "bpp": 8 * file.size / header.pixels,
        "lossless": file.lossless,
        "coded_bytes": coded,
        "patch_bytes": patches,
        "alpha_bytes": file.alpha_bytes,
        "filter_bytes": header.restoration_bytes,
        "map_bytes": header.map_bytes,
        "metadata_bytes": metadata,
        "container_bytes": file.size - content,
        "patches": len(file.patches),
        "patch_pixels": sum(patch.area for patch in file.patches),
        "tiles": len(file.grid),
        "tile_size": file.grid.side or None,
        "model": "not installed",
        "model_id": header.model_id.hex(),
        "rounding": "vq" if header.vq else "integer",
        "levels": None if file.lossless else header.levels,
        "level": None if file.lossless else header.level,
        "quality": None,
        "lambda": None,
    }
    try:
        path = find_by_id(header.model_id)
    except ModelNotFoundError:
        return facts
    config = read_config(read_metadata(path))
    header.check_fits(config)
    position = header.level.position
    if file.lossless:  # no level was chosen
        return facts | {"model": path.stem}
    return facts | {
        "model": path.stem,
        "quality": config.quality_of(position),
        "lambda": config.lambda_of(position),
    }


def _text(facts: dict[str, Any]) -> str:
    size = f"{facts['width']}x{facts['height']} {facts['mode']}"
    lines = [f"{one_line(facts['file'])}: vqcodec version {facts['version']}, {size}"]
    parts = {name: facts[f"{name}_bytes"] for name in ("coded", "patch", "alpha", "filter", "map")}
    parts |= facts["metadata_bytes"] | {"container": facts["container_bytes"]}
    shown = ", ".join(f"{name} {size}" for name, size in parts.items() if size)
    lines.append(f"  {facts['bytes']} bytes ({shown}), {facts['bpp']:.4f} bpp")
    if facts["tile_size"]:
        lines.append(f"  {facts['tiles']} tiles of {facts['tile_size']} pixels")
    if facts["patches"]:
        share = facts["patch_pixels"] / (facts["width"] * facts["height"])
        count = "1 patch" if facts["patches"] == 1 else f"{facts['patches']} patches"
        kept = "lossless" if facts["lossless"] else f"{share:.1%} of the pixels without loss"
        of_bytes = facts["patch_bytes"] / facts["bytes"]
        lines.append(f"  {kept}, in {count}, {of_bytes:.1%} of the bytes")
    lines.append(f"  model {facts['model']} ({facts['model_id']}), {ROUNDINGS[facts['rounding']]}")
    if facts["levels"]:
        lines.append(f"  {facts['levels']} residual levels")
    if facts["lambda"] is not None:
        quality = "" if facts["quality"] is None else f"quality {facts['quality']:.4g}, "
        varied = ", varied by a map of levels" if facts["map_bytes"] else ""
        lines.append(f"  {quality}lambda {facts['lambda']:.5g}{varied}")
    if facts.get("checked"):
        lines.append("  all checksums match")
    return "\n".join(lines)
