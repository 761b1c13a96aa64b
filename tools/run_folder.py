"""Reads a run folder: config.toml, summary.json and the path of the checkpoint."""
import json
import re
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.9 and 3.10
    tomllib = None


class ConfigError(Exception):
    """A config, key or summary cannot be used; the text names it."""


def _strip_comment(line):
    quoted = False
    for index, character in enumerate(line):
        if character == '"' and (index == 0 or line[index - 1] != "\\"):
            quoted = not quoted
        elif character == "#" and not quoted:
            return line[:index]
    return line


def _parse_value(text, where):
    """Parses a TOML value of a kind that configs use. JSON writes these the same way, except for
    underscores in numbers."""
    if re.fullmatch(r"[+-]?[0-9][0-9_]*", text):
        return int(text.replace("_", ""))
    if re.fullmatch(r"[+-]?(inf|nan)", text):
        return float(text)
    if re.fullmatch(r"[+-]?[0-9][0-9_]*(\.[0-9_]+)?([eE][+-]?[0-9]+)?", text):
        return float(text.replace("_", ""))
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1]
    try:
        return json.loads(re.sub(r",\s*\]", "]", text))
    except ValueError:
        raise ConfigError(f"{where}: cannot read the value {text}") from None


def parse_toml_subset(text, name="config"):
    """Parses the part of TOML that configs use, for versions of Python without tomllib: tables, dotted keys,
    strings, numbers, booleans and arrays of these. An array may span several lines."""
    root, table, pending = {}, None, ""
    table = root
    for number, raw in enumerate(text.splitlines(), 1):
        where = f"{name}:{number}"
        line = (pending + " " + _strip_comment(raw).strip()).strip()
        pending = ""
        if not line:
            continue
        header = re.fullmatch(r"\[([A-Za-z0-9_.-]+)\]", line)
        array_header = re.fullmatch(r"\[\[([A-Za-z0-9_.-]+)\]\]", line)
        if header or array_header:
            *parents, last = (header or array_header).group(1).split(".")
            table = root
            for part in parents:
                table = table.setdefault(part, {})
            if header:
                table = table.setdefault(last, {})
            else:
                table.setdefault(last, []).append({})
                table = table[last][-1]
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise ConfigError(f"{where}: neither a table nor a key = value: {line}")
        if value.count("[") > value.count("]"):
            pending = line
            continue
        *parents, last = key.strip().split(".")
        place = table
        for part in parents:
            place = place.setdefault(part, {})
        place[last.strip()] = _parse_value(value.strip(), where)
    return root


def _read_one(path):
    text = Path(path).read_text(encoding="utf-8")
    if tomllib is not None:
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: {error}") from None
    return parse_toml_subset(text, str(path))


# Keys that have other names now: those of engine's table in apps/sculpt_run/key_names.cpp.
RENAMED_KEYS = {
    "model.prune_first_conv": "prune.first_conv",
    "model.prune_classifier": "prune.classifier",
    "train.precision": "execution.precision",
    "train.conv": "execution.conv",
    "train.sparse": "execution.sparse",
    "train.winograd": "execution.winograd",
    "train.step_graph": "execution.step_graph",
    "train.dense_timing": "execution.dense_timing",
    "train.lr": "optim.lr",
    "train.schedule": "optim.schedule",
    "train.warmup": "optim.warmup",
    "train.warmup_start": "optim.warmup_start",
    "train.milestones": "optim.milestones",
    "train.decay_factor": "optim.milestone_factor",
    "train.cooldown": "optim.cooldown",
    "train.momentum": "optim.momentum",
    "train.nesterov": "optim.nesterov",
    "train.weight_decay": "optim.weight_decay",
    "train.decay_norm_and_bias": "optim.decay_norm_and_bias",
    "train.clip_norm": "optim.clip_norm",
    "wr.rewind_epoch": "cycles.rewind_epoch",
    "wr.schedule_restart": "cycles.schedule_restart",
}
CONFIG_VERSION = 2
SUMMARY_VERSION = 1
ENVIRONMENT_VERSION = 1


def _pop(config, key):
    """Takes a dotted key out of a config; sections that become empty go, too."""
    section, _, rest = key.partition(".")
    if not rest:
        return config.pop(section)
    value = _pop(config[section], rest)
    if not config[section]:
        del config[section]
    return value


def _put(config, key, value):
    *parents, last = key.split(".")
    for part in parents:
        config = config.setdefault(part, {})
    config[last] = value


def require_known_format(text, kind, version, name):
    """Raises ConfigError if a file carries another format than `kind`, or a newer version of it."""
    found, _, number = str(text).rpartition("-")
    if found != kind or not number.isdigit():
        raise ConfigError(f"{name}: {text!r} is not a format of this file; it should be "
                          f"{kind}-{version}")
    if int(number) > version:
        raise ConfigError(f"{name}: the format {text} is newer than these tools, which read "
                          f"{kind}-{version}; use the tools of a newer version of Sculpt")


def _with_names_of_today(config, name):
    """Renames the keys of a config that was written for an older version, and takes its format out."""
    require_known_format(config.pop("format", "sculpt-config-1"), "sculpt-config", CONFIG_VERSION, name)
    for old, now in RENAMED_KEYS.items():
        if get(config, old) is None:
            continue
        if get(config, now) is not None:
            raise ConfigError(f"{name}: {old} is the old name of {now}, which the config has, too")
        _put(config, now, _pop(config, old))
    return config


def _over(base, config):
    """Returns the settings of `config`, and those of `base` that `config` does not set."""
    merged = dict(base)
    for key, value in config.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _over(merged[key], value) if both else value
    return merged


def read_config(path, chain=()):
    """Returns the settings of a config and of the file that its key `base` names, as the engine reads them
    (engine/config/config_document.h)."""
    config = _with_names_of_today(_read_one(path), path)
    base = config.pop("base", None)
    if base is None:
        return config
    chain = (*chain, Path(path).resolve())
    file = Path(path).parent / str(base)
    if not isinstance(base, str) or not file.is_file():
        raise ConfigError(f"{path}: there is no file {file}; base is a path from the folder of the "
                          "config that names it")
    if file.resolve() in chain:
        raise ConfigError(f"{path}: {file} is its own base")
    return _over(read_config(file, chain), config)


def set_value(config, assignment):
    """Applies 'a.b=value' as sculpt_run's --set does. A word without quotes is a string."""
    key, equals, text = assignment.partition("=")
    if not equals:
        raise ConfigError(f"--set {assignment}: expected KEY=VALUE")
    try:
        value = _parse_value(text.strip(), f"--set {key}")
    except ConfigError:
        value = text.strip()
    key = key.strip()
    _put(config, RENAMED_KEYS.get(key, key), value)


def get(config, key, default=None):
    """Returns the value of a dotted key, or the default if the config does not have the key."""
    for part in key.split("."):
        if not isinstance(config, dict) or part not in config:
            return default
        config = config[part]
    return config


def keys(config, prefix=""):
    """Returns all dotted keys of a config."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def is_layer(weight, pattern):
    """Returns True if an entry of prune.exempt means the layer of this weight: `*` stands for any characters,
    and the entry names the layer ("fc") or the weight ("fc.weight")."""
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return any(re.fullmatch(expression, name) for name in (weight, weight.removesuffix(".weight")))


def measured_on(config):
    """Returns what accuracies of a run are measured on: "validation" (images held out of the training set)
    or "test"."""
    return "validation" if get(config, "data.val_split", 0) > 0 else "test"


def best_accuracy(summary):
    """Returns the best accuracy in a summary.json, and says what it is the best of. Older runs have the best
    of all epochs, at any density."""
    for key, what in (("best_test_accuracy_at_final_density", "at the final density"),
                      ("best_test_accuracy", "of all epochs")):
        if summary.get(key) is not None:
            return summary[key], what
    return None, "of all epochs"


def read_summary(folder):
    """Returns the content of summary.json, or None if it does not exist. Raises ConfigError if it is
    damaged."""
    path = Path(folder) / "summary.json"
    if not path.exists():
        return None
    try:
        summary = json.loads(path.read_text())
    except ValueError as error:
        raise ConfigError(f"{path} is damaged: {error}") from None
    if not isinstance(summary, dict):
        raise ConfigError(f"{path} is damaged: it is not a JSON object")
    require_known_format(summary.get("format", "sculpt-summary-1"), "sculpt-summary", SUMMARY_VERSION,
                         path)
    if "test_accuracy" not in summary:
        raise ConfigError(f"{path} is damaged: it has no test_accuracy")
    return summary
