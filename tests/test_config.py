import pytest

from codec.errors import WeightsError
from codec.weights.config import ModelConfig
from codec.weights.released import find_weights, read_config, read_metadata


def test_dictionary_round_trip() -> None:
    config = ModelConfig(latent=64, channels16=64)
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_ladder_ends_at_the_lambdas_and_is_log_linear() -> None:
    config = ModelConfig(lambda_min=0.001, lambda_max=0.1, anchors=3)
    assert [config.lambda_of(level) for level in (0, 1, 2)] == pytest.approx([0.001, 0.01, 0.1])
    assert config.level_of(0.01) == pytest.approx(1.0)


def test_single_rate() -> None:
    config = ModelConfig(lambda_min=0.013, lambda_max=0.013, anchors=1)
    assert config.lambda_of(0.0) == 0.013
    assert config.level_of(0.013) == 0.0


@pytest.mark.parametrize(
    "change",
    [
        {"latent": 3},
        {"latent": 0},
        {"latent": 10**6},
        {"transform": "other"},
        {"lambda_min": 0.0},
        {"lambda_min": 0.5},
        {"anchors": 1},
        {"anchors": 17},
        {"blocks8": -1},
        {"blocks8": 10**9},
        {"channels8": "8"},
        {"channels8": True},
        {"gate_bound": -1.0},
        {"gate_bound": 1e39},
        {"gate_bound": float("inf")},
        {"filter4": -1},
        {"hidden16": -1},
        {"distortion": "vmaf"},
        {"surprise": 1},
    ],
)
def test_refuses_what_cannot_be(change: dict[str, object]) -> None:
    with pytest.raises(WeightsError):
        ModelConfig.from_dict(ModelConfig().to_dict() | change)


def test_fields_that_an_older_file_lacks_are_what_they_were() -> None:
    values = ModelConfig().to_dict()
    for name in ("latent", "gate_bound", "gates16", "hidden16", "filter4", "distortion"):
        del values[name]
    old = ModelConfig.from_dict(values)
    assert old == ModelConfig(gate_bound=0.0, gates16=True, hidden16=0, filter4=0)
    assert old.units16 == old.channels16


def test_the_number_of_passes_that_files_state_is_four() -> None:
    values = ModelConfig().to_dict()
    assert ModelConfig.from_dict(values | {"passes": 4}) == ModelConfig()
    with pytest.raises(WeightsError, match="4 passes"):
        ModelConfig.from_dict(values | {"passes": 2})


@pytest.mark.parametrize("name", ["photo", "photo-mse", "vq"])
def test_what_released_configurations_mean(name: str) -> None:
    config = read_config(read_metadata(find_weights(name)))
    known = {"photo": (2, 160, 4.0, False, 0), "vq": (2, 0, 0.0, True, 0)}
    shape = (config.blocks8, config.hidden16, config.gate_bound, config.gates16, config.filter4)
    assert shape == known.get(name, (4, 0, 4.0, False, 96))
