"""A configuration is what its author meant, or an error that names the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.aggregate.aggregators import AGGREGATORS
from dfmr_dask.aggregate.filtering import GATES
from dfmr_dask.command.config import configuration, read_config, settings_of
from dfmr_dask.command.schema import RunConfig
from dfmr_dask.errors import InvalidConfiguration
from dfmr_dask.estimator import GaussianMixture
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.local.start import STARTS
from dfmr_dask.run.settings import METHODS, WEIGHTS, WORK_DTYPES

CONFIGS = [  # those of runs; a comparison has populations
    path
    for path in sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
    if "populations" not in yaml.safe_load(path.read_text())
]
SMALLEST: dict[str, Any] = {
    "source": {"path": "a.zarr"},
    "mixture": {"n_components": 3},
    "run": {"folder": "runs/a"},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(SMALLEST))
    return path


def test_configs_are_there() -> None:
    assert {p.stem for p in CONFIGS} >= {"quickstart", "out-of-core", "paper-simulation"}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda p: p.stem)
def test_shipped_configs_are_valid(config: Path) -> None:
    assert read_config(config).run.folder == f"runs/{config.stem}"


def test_defaults_are_those_of_the_method() -> None:
    config = configuration(SMALLEST)
    assert (config.mixture.init_params, config.mixture.covariance_type) == ("overfit", "full")
    assert (config.aggregate.aggregator, config.aggregate.method) == ("dfmr", "blocks")
    assert config.corruption is None
    assert config.simulate is None
    assert config.labels.write


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("mixture.n_component=3", ["mixture.n_component", "did you mean n_components?", "tol"]),
        ("mixtures={}", ["mixtures", "did you mean mixture?", "source"]),
        ("zzz=1", ["zzz", "unknown key", "allowed: source, mixture"]),
        ("simulate={kind: photographs, chunk_rows: 4, sead: 1}", ["simulate.sead", "seed?"]),
        ("corruption.replacement.pth=1", ["corruption.replacement.pth", "did you mean path?"]),
        ("mixture.tol=-1", ["mixture.tol", "came -1", "greater than or equal to 0"]),
        ("mixture.n_components=0", ["mixture.n_components", "came 0", "greater than 0"]),
        ("mixture.n_components=true", ["mixture.n_components", "came True", "whole number"]),
        ("mixture.n_components=2.5", ["mixture.n_components", "came 2.5", "whole number"]),
        ("mixture.n_components='5'", ["mixture.n_components", "came '5'", "whole number"]),
        ("mixture.tol=.nan", ["mixture.tol", "came nan"]),
        ("mixture.covariance_type=fulll", ["covariance_type", "'fulll'", "'diag'", "mean full?"]),
        ("aggregate.compare=[vanila]", ["aggregate.compare.0", "did you mean vanilla?"]),
        ("aggregate.rho=0.5", ["aggregate.rho", "came 0.5", "greater than or equal to 1"]),
        ("corruption={attack: mean, fraction: 1.2}", ["corruption.fraction", "came 1.2"]),
        (
            "corruption={attack: data, fraction: .2}",
            ["corruption.replacement: came nothing, with attack: data; wanted {path"],
        ),
        (
            "corruption={attack: mean, fraction: .2, stages: [rows]}",
            ["corruption.stages: came ('rows',); wanted stages that fit"],
        ),
        ("aggregate.compare=[oracle]", ["aggregate.compare: came ('oracle',); wanted a corr"]),
        ("aggregate.aggregator=oracle", ["aggregate.aggregator: came 'oracle'; wanted a corr"]),
        ("source={path: a, plan: rows}", ["source.plan: came 'rows'; wanted sizes", "plan='rows'"]),
        ("aggregate.gates=[l3]", ["aggregate.gates.0: came 'l3'; wanted 'blocks', 'center'"]),
        ("mixture.init_params=3", ["mixture.init_params: came 3; wanted 'overfit', "]),
        ("waiting.quorum=1.5", ["waiting.quorum", "1.5", "a share up to 1.0"]),
        ("waiting.deadline=0", ["waiting.deadline", "0"]),
        (
            "cluster={address: a, scheduler_file: b}",
            ["cluster.scheduler_file: came 'b'; wanted nothing beside an address"],
        ),
        ("cluster={tls: {ca: a, cert: b, key: c}}", ["cluster.address", "beside tls"]),
        ("cluster.memory_per_worker=plenty", ["cluster.memory_per_worker", "'plenty'", "512MiB"]),
        ("source.features=3.5", ["source.features: came 3.5", "a text or a whole number"]),
        ("source.sample_weight=3", ["source.sample_weight", "came 3"]),
        ("mixture.outliers=0", ["mixture.outliers", "came 0", "greater than 0"]),
        ("mixture.dtype_work=float16", ["mixture.dtype_work: came 'float16'; wanted 'float64'"]),
        ("source.path=null", ["source.path", "came None"]),
        ("simulate={kind: gauss}", ["simulate.kind: came 'gauss'; wanted one of 'gaussian', 'ph"]),
        ("simulate={kind: gaussian}", ["simulate.rows", "came nothing", "no default"]),
        ("simulate={rows: 3}", ["simulate.kind: came nothing; wanted"]),
        ("run.seed=-1", ["run.seed", "came -1"]),
        ("mixture=3", ["mixture", "came 3", "keys with values"]),
        ("picture={}", ["picture", "true or false"]),
        ("source.path.x=3", ["source.path.x", "keys were wanted"]),
        ("nothing", ["nothing", "key=value"]),
        ("a..b=3", ["a..b", "key=value"]),
        ("source.path=[}", ["source.path", "no YAML"]),
    ],
)
def test_errors_name_key_value_and_choice(path: Path, override: str, said: list[str]) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        read_config(path, [override])
    for words in said:
        assert words in str(caught.value)


def test_a_picture_needs_labels(path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=r"^labels\.write: came False; wanted true"):
        read_config(path, ["picture=true", "labels.write=false"])


def test_estimator_and_configuration_have_one_rule_for_tol(path: Path) -> None:
    assert read_config(path, ["mixture.tol=0"]).mixture.tol == 0.0
    GaussianMixture(tol=0.0)._validate_params()


def test_tables_of_the_method_say_what_is_allowed(path: Path) -> None:
    for key, names in {
        "aggregate.method": METHODS,
        "aggregate.weights": WEIGHTS,
        "mixture.init_params": STARTS,
        "mixture.covariance_type": COVARIANCE_TYPES,
        "mixture.dtype_work": WORK_DTYPES,
    }.items():
        for name in names:
            read_config(path, [f"{key}={name}"])
    for names, key in ((AGGREGATORS, "compare"), (GATES, "gates")):
        corrupted = "corruption={attack: mean, fraction: .2}"
        read_config(path, [f"aggregate.{key}=[{', '.join(names)}]", corrupted])


def test_misspelt_keys_come_before_what_is_missing_for_them(path: Path) -> None:
    path.write_text(yaml.safe_dump({**SMALLEST, "mixture": {"n_component": 3}}))
    with pytest.raises(InvalidConfiguration) as caught:
        read_config(path)
    first, second = str(caught.value).splitlines()
    assert "did you mean n_components?" in first
    assert second.startswith("mixture.n_components: came nothing")


def test_overrides_are_yaml_and_the_last_one_counts(path: Path) -> None:
    config = read_config(
        path, ["mixture.tol=1e-4", "source.features=[a, b]", "run.seed=1", "run.seed=2"]
    )
    assert config.mixture.tol == 1e-4
    assert config.source.features == ("a", "b")
    assert config.run.seed == 2


def test_overrides_open_and_close_sections(path: Path) -> None:
    path.write_text(yaml.safe_dump({**SMALLEST, "corruption": None}))
    opened = ["corruption.attack=mean", "corruption.fraction=0.2"]
    assert read_config(path, opened).corruption is not None
    assert read_config(path, [*opened, "corruption=null"]).corruption is None


@pytest.mark.parametrize("text", ["1e-6", "1E-6", "+1e-6", "1.e-6", ".1e-5", "1.0e-6"])
def test_numbers_with_exponents_are_numbers(path: Path, text: str) -> None:
    assert read_config(path, [f"mixture.tol={text}"]).mixture.tol == 1e-6


def test_a_key_that_comes_twice_is_refused(path: Path) -> None:
    path.write_text("source: {path: a}\nsource: {path: b}\n")
    with pytest.raises(InvalidConfiguration, match="'source' comes twice"):
        read_config(path)


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=r"missing\.yaml"):
        read_config(tmp_path / "missing.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidConfiguration, match=r"binary\.yaml"):
        read_config(tmp_path / "binary.yaml")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    with pytest.raises(InvalidConfiguration, match="sections with keys"):
        read_config(tmp_path / "list.yaml")


def test_yaml_cannot_make_objects(path: Path) -> None:
    path.write_text("source: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(InvalidConfiguration, match="no YAML"):
        read_config(path)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda p: p.stem)
def test_settings_written_out_give_the_same_configuration(config: Path) -> None:
    once = read_config(config)
    assert configuration(settings_of(once)) == once


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(sorted(RunConfig.model_fields)),
)
def test_any_value_is_taken_or_complained_about(value: Any, section: str) -> None:
    try:
        configuration({**SMALLEST, section: value})
    except InvalidConfiguration as error:
        assert str(error)
