"""Whatever stands in the file, the environment or a flag: settings, or a ConfigError."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from rover.config.keys import all_keys
from rover.config.load import load
from rover.config.show import rows
from rover.errors import ConfigError

PATHS = [setting.path for setting in all_keys()]
VARIABLES = [setting.key.env for setting in all_keys() if setting.key.env]
NAMES = sorted({part.removesuffix("[]") for path in PATHS for part in path.split(".")})

TEXT = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            *("", "1", "-1", "20s", "true", "no", "REGEX", "{{.Pod.Name}}", "${A:x}", "${A}"),
            *("${A:", "a,b", "(", "{{", ".Pod.Name", "eq 1 1", "\x00", "x" * 5000, "1e999s"),
            "\ud800",
        ]
    ),
)
VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=20,
)
TREE = st.dictionaries(st.sampled_from(["logger", "core", "process_discovery", "x"]), VALUE)


def loads_in_order(file, environment, flags):
    try:
        loaded = load(file, environment, flags)
    except ConfigError as error:
        return bool(str(error))
    return bool(rows(loaded))


@settings(max_examples=200)
@given(tree=TREE, environment=st.dictionaries(st.sampled_from([*VARIABLES, "A"]), TEXT))
def test_no_file_raises_anything_but_a_config_error(tmp_path_factory, tree, environment):
    file = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    # JSON is YAML, but for what neither can say.
    file.write_text(json.dumps(tree).replace("NaN", "0").replace("Infinity", "1"))
    assert loads_in_order(file, environment, {})


@given(flags=st.dictionaries(st.one_of(st.sampled_from(PATHS), st.text(max_size=10)), TEXT))
def test_no_flag_raises_anything_but_a_config_error(flags):
    assert loads_in_order(None, {}, flags)
