"""Every setting of a project: its key in loop.toml, its type, default, limits, variable and explanation.

A setting is added here and nowhere else. What `loop init` writes, what is read from loop.toml and from the environment,
and every complaint about a value come from these models. The explanations are written for the reader of loop.toml; the
defaults of `[train]` are the recipe that BENCHMARKS.md measures.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

BY_WEAK_VOTE = "weak vote"
ShareName = Literal["f1", "precision", "recall"]
SHARES: tuple[ShareName, ...] = get_args(ShareName)
Share = Annotated[float, Field(ge=0, le=1)]
LabelCount = Annotated[int, Field(ge=0)]
# Several times the minimum, at which learning curves of entity types have usually flattened; a rule of thumb.
RECOMMENDED_MINIMA = 4
_DAY = 86_400.0
LOCAL = "local"
_LENGTH_FOLLOWS_DATA = "the length of a training follows its data now, and train.passes changes it"
# Keys that an older loop.toml may have: they are not read, and people are told so.
GONE: Mapping[tuple[str, str], str] = {
    **{("train", key): _LENGTH_FOLLOWS_DATA for key in ("epochs", "min_steps", "patience", "warm_epochs")},
    ("train", "dev_share"): "from 1,000 documents on, a tenth is held back, about 500 at most; with fewer, none is",
}
# The largest seed that every library with random numbers takes.
_LARGEST_SEED = 2**32 - 1


def setting(
    default: Any, explanation: str, *, variable: str = "", secret: bool = False, example: Any = None, **limits: Any
) -> Any:
    """A field of a section.

    explanation: one or two sentences for loop.toml. variable: the environment variable that wins over the file.
    secret: the file never holds the value, and nothing shows it. example: what loop.toml shows in place of a default
    that means "none". limits: whatever pydantic's `Field` takes, such as `ge=1`.
    """
    return Field(
        default,
        description=explanation,
        examples=None if example is None else [example],
        json_schema_extra={"variable": variable, "secret": secret},
        **{"repr": not secret, **limits},
    )


def is_one_line(name: str) -> bool:
    """False for a name with a line break, another control character, or a lone surrogate."""
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name)


def _one_line(name: str) -> str:
    if not name.strip() or not is_one_line(name):
        raise ValueError("is one line, not blank and without control characters")
    return name


def _web_address(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("starts with http:// or https://")
    try:
        urlsplit(url)
    except ValueError as error:
        raise ValueError("is the address of a server") from error
    return url.rstrip("/")


def _engine(engine: str) -> str:
    return engine if engine == LOCAL else _web_address(engine)


def _expanded(path: str) -> str:
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError as error:
        raise ValueError("starts in the home folder of a user of this machine") from error


def _upper(level: Any) -> Any:
    return level.upper() if isinstance(level, str) else level


Line = Annotated[str, AfterValidator(_one_line)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
Engine = Annotated[str, AfterValidator(_engine)]
FilePath = Annotated[str, AfterValidator(_expanded)]
Level = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)]


class SettingsSection(BaseModel):
    """A table of loop.toml. The docstring of each stands under its header there."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    def changed(self, **values: Any) -> Self:
        """This section with other values, checked like the rest."""
        return type(self)(**{**dict(self), **values})


class ProjectSettings(SettingsSection):
    """The only section that a project must have."""

    name: Line = setting(..., "The project's name in the store.", example="desk")
    labels: FilePath = setting("labels.xml", "The label config for Label Studio: Labels over Text.")


class StoreSettings(SettingsSection):
    """The database: SQLite, or PostgreSQL (postgresql+psycopg://user@host/name)."""

    url: str = setting("sqlite:///loop.db", "An SQLAlchemy URL.", variable="LOOP_STORE_URL", repr=False)


class ModelsSettings(SettingsSection):
    """The trained models."""

    dir: FilePath = setting("models", "One folder for each version stands in it.", variable="MODEL_DIR")
    remote: str = setting(
        "",
        "A folder that several hosts share, at any address that fsspec opens; `dir` is then a cache of it. Empty for "
        "none.",
        variable="MODEL_STORE",
        example="s3://bucket/models",
        repr=False,
    )
    cache_mb: int = setting(
        2048, "How large `dir` may grow, in MiB, where `remote` is set.", variable="MODEL_CACHE_MB", ge=1
    )


class LabelStudioSettings(SettingsSection):
    """The server. Only connect, pull, publish, run and simulate-annotator need one.
    The API key, legacy or personal, stands in a file that only you can read, or in the environment."""

    url: WebAddress | None = setting(
        None, "The server's address.", variable="LABEL_STUDIO_URL", example="http://localhost:8080"
    )
    project: int | None = setting(None, "The project's id on the server; `loop connect` links one.", example=1)
    api_key_file: FilePath | None = setting(None, "The file of the API key.", example="api-key")
    api_key: str | None = setting(None, "The API key.", variable="LABEL_STUDIO_API_KEY", secret=True)


class TrainSettings(SettingsSection):
    """How a model is trained. BENCHMARKS.md measures this recipe; read it before you change the recipe.
    Another encoder is a name or a folder that transformers loads: BERT, DistilBERT or RoBERTa. "minilm" comes with a
    package and needs no download. A text of more tokens than max_length is read by overlapping windows."""

    encoder: Annotated[Line, AfterValidator(_expanded)] = setting("minilm", "The model that the adapter is trained on.")
    max_length: int = setting(128, "Tokens of a window, special tokens included.", ge=8)
    rank: int = setting(16, "Rank of the LoRA adapter (Hu et al. 2021) on every linear layer.", ge=1)
    alpha: int = setting(32, "Scale of the LoRA adapter.", ge=1)
    prefinetuned: bool = setting(
        True,
        "Start at an adapter that knows what entities look like, with up to 1,000 windows of gold. There is one for "
        "minilm with this rank and alpha; others start at nothing.",
    )
    dropout: float = setting(0.0, "Of the adapter; above 0, a training takes a quarter longer.", ge=0, lt=1)
    encoder_dropout: float = setting(0.1, "Of the encoder; above 0, a training takes a tenth longer.", ge=0, lt=1)
    learning_rate: float = setting(1e-3, "Of AdamW, at its peak.", gt=0)
    weight_decay: float = setting(0.01, "Of AdamW.", ge=0)
    beta2: float = setting(0.98, "Of AdamW.", ge=0, lt=1)
    warmup_share: float = setting(0.1, "Share of the steps in which the rate rises; then it falls.", ge=0, lt=1)
    passes: int = setting(
        20,
        "Passes over 250 to 700 windows. Fewer windows get more (100: 32), more windows get fewer (3,400: 4).",
        ge=1,
    )
    batch_size: int = setting(32, "Windows in a step; at most 16 where there are up to 1,000 windows.", ge=1)
    averaging: float = setting(
        0.998,
        "Decay of the average of the weights that is exported (Polyak & Juditsky 1992); 0 takes the last weights.",
        ge=0,
        lt=1,
    )
    other_mentions: Share = setting(
        0.5,
        "Chance of each mention to be read as another one of its type, at each pass (Dai & Adel 2020); 0 turns it off.",
    )
    warm_learning_rate: float = setting(
        5e-4,
        "In place of `learning_rate` when training goes on from an adapter, the prefinetuned one, too.",
        gt=0,
    )
    seed: int = setting(13, "Of every random choice of a training.", ge=0, le=_LARGEST_SEED)
    threads: int = setting(0, "Of torch; 0 takes every core that the process may use.", ge=0, le=1024)
    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", 'Where the steps are computed. "auto" takes a GPU where torch sees one, else the processor.'
    )
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        'Or "float32", "bfloat16". "auto" takes bfloat16 where the device computes in it; on other processors '
        "bfloat16 is three times slower.",
    )


class HoldoutSettings(SettingsSection):
    """The documents by which candidates are judged. No model is ever trained on them."""

    share: float = setting(
        0.2, "Of new documents of the pool, drawn at random. Stored documents stay where they are.", ge=0, lt=1
    )


class PromotionSettings(SettingsSection):
    """How a candidate is judged against the model in service. README explains the rules.
    Alpha, looks and spending of a holdout are fixed at its first look; a change counts from the next holdout on."""

    policy: Literal["bounded", "proven", "higher"] = setting(
        "bounded",
        'Who serves. "bounded": the better model as far as the holdout can tell, and a wrong decision costs no more '
        'than average_loss on average. "proven": only a model that a test shows to be better. "higher": the higher F1.',
    )
    average_loss: float = setting(
        0.005, 'F1 that a wrong decision of "bounded" may cost on average; less is slower.', gt=0, le=0.1
    )
    first_loss: float = setting(
        0.025,
        "Likewise, while the first model serves, which was compared with none: it is replaced sooner, and only once. "
        "The larger of the two counts.",
        gt=0,
        le=0.1,
    )
    alpha: float = setting(0.05, 'Chance of one false "proven better" over all looks at one holdout.', ge=0.001, lt=1)
    looks: int = setting(10, 'Candidates that one holdout can call "proven better".', ge=1, le=100)
    spending: Literal["even", "decreasing"] = setting("even", 'With "decreasing", first looks get more alpha.')
    delta: float = setting(0.03, 'F1 that an entity type may lose under "proven".', gt=0, lt=1)
    confidence: float = setting(0.95, "Of intervals, and of the bound that is compared with delta.", gt=0, lt=1)
    least_documents: int = setting(15, "Labelled documents of a holdout before it judges a candidate.", ge=1)
    wanted: float = setting(0.02, "The difference in micro-F1 that you would like to see.", gt=0, lt=1)
    resamples: int = setting(10_000, "Resamples of the test and of the intervals, at least.", ge=1000, le=10**6)
    seed: int = setting(13, "Of the test, the intervals and the perturbations.", ge=0, le=_LARGEST_SEED)
    first_model: Literal["weak vote", "gates"] = setting(
        "weak vote",
        'What a first model has to pass. "weak vote": it beats the agreed votes on the holdout, where sources of weak '
        'labels vote, and the targets. "gates": the targets alone.',
    )
    reference: bool = setting(True, "Run candidates in FP32, too: it takes a minute and tells what INT8 loses.")
    robustness: int = setting(300, "Held-out texts that are perturbed, at most; 0 for none.", ge=0)
    unlabelled: int = setting(
        300,
        "Open texts on which candidate and model in service are compared, to find switched labels; 0 for none.",
        ge=0,
    )
    timed: int = setting(100, "Texts that are timed; 0 for none.", ge=0)
    texts: bool = setting(True, "Whether reports quote held-out texts.")


class GateSettings(SettingsSection):
    """Targets that a candidate has to reach, on the holdout and on this machine. 0, the default of each, is none."""

    f1: Share = setting(0.0, "Micro-F1, at least.", example=0.85)
    precision: Share = setting(0.0, "Micro-precision, at least.", example=0.8)
    recall: Share = setting(0.0, "Micro-recall, at least.", example=0.8)
    latency_ms: float = setting(0.0, "Median time of one text, at most.", ge=0, example=100.0)
    documents_per_second: float = setting(0.0, "In calls of 8 texts, at least.", ge=0, example=100.0)
    bundle_mb: float = setting(0.0, "Of the model's folder, at most.", ge=0, example=100.0)
    memory_mb: float = setting(0.0, "Of a process that runs the model, at most.", ge=0, example=400.0)
    types: Mapping[str, Mapping[ShareName, Share]] = setting(
        {}, "For single entity types, at least.", example={"VERSION": {"f1": 0.8, "recall": 0.75}}
    )


class MLflowSettings(SettingsSection):
    """Where each attempt at a promotion is logged, too. This needs the extra "mlflow"."""

    tracking_uri: str = setting(
        "", "An MLflow tracking URI; empty for nowhere.", variable="MLFLOW_TRACKING_URI", repr=False
    )
    experiment: str = setting("", "By default the project's name.")


class ServiceSettings(SettingsSection):
    """The pace of `loop run`."""

    poll_seconds: float = setting(15.0, "How often Label Studio is asked for news.", gt=0, le=_DAY)
    retrain_after: int = setting(50, "Newly labelled documents that start a training.", ge=1)
    alive_file: FilePath | None = setting(
        None,
        "A file that is touched before each step and between cycles, for a health check.",
        variable="LOOP_ALIVE_FILE",
        example="/tmp/loop-alive",
    )


class WeakSettings(SettingsSection):
    """Labels before anybody has labelled, and beside the first gold.
    With gold, a training learns from gold and weak labels first, and from gold alone last."""

    functions: FilePath = setting("", "A Python file of labelling functions; empty for none.", example="functions.py")
    file: FilePath = setting("weak.toml", "The file that declares sources; it is read where there is one.")
    seconds_per_text: float = setting(
        2.0, "What a source may take on one text before it is left out on that text.", gt=0, le=3600
    )
    training: Literal["auto", "always", "never"] = setting(
        "auto",
        'Whether a training with gold learns from weak labels first. "auto" tries both ways on gold that is held back, '
        "and learns from weak labels only where they help.",
    )
    texts: int = setting(1500, "Weakly labelled texts that a training learns from, at most.", ge=1)
    share: float = setting(
        1.0, "Of the texts that are learned first, those with weak labels, at most; gold is repeated.", gt=0, le=1
    )
    oversampling: float = setting(1.5, "How often a gold text stands among them for each weak text.", ge=0)
    rare_boost: float = setting(0.5, "How much more often, where it holds a rare entity type.", ge=0)
    silent: Literal["outside", "ignored"] = setting(
        "outside",
        'A word on which no source speaks: "outside" every entity, or "ignored". Without gold it is always outside.',
    )


class BackendSettings(SettingsSection):
    """The ML backend, which `loop serve` starts."""

    host: str = setting("127.0.0.1", "Where it listens.")
    port: int = setting(9090, "Where it listens.", variable="PORT", ge=1, le=65535)
    workers: int = setting(1, "Processes, each with its own copy of the models.", variable="WORKERS", ge=1)
    threads: int = setting(4, "Requests that each process answers at once.", variable="THREADS", ge=1)
    engine: Engine = setting(
        LOCAL,
        'What gives the logits: "local", or the address of a server of the Open Inference Protocol, such as Triton.',
        variable="ENGINE",
    )
    engine_model: Line = setting(
        "{project}", 'The model\'s name there; "{version}" stands for the promoted version.', variable="ENGINE_MODEL"
    )
    engine_seconds: float = setting(
        1.0,
        "How long a window may take there. Then the local bundle answers.",
        variable="ENGINE_SECONDS",
        ge=0.05,
        le=60,
    )
    url: str = setting("", "How Label Studio reaches it, where that is not http://host:port.")
    basic_auth_user: str = setting("", "Who may call it; empty for everybody.", variable="BASIC_AUTH_USER")
    basic_auth_pass: str = setting("", "The password of that user.", variable="BASIC_AUTH_PASS", secret=True)

    @property
    def address(self) -> str:
        """The URL that Label Studio is told."""
        return (self.url or f"http://{self.host}:{self.port}").rstrip("/")


class StatusSettings(SettingsSection):
    """How many labels `loop status` and reports ask for. Four times the minimum are recommended, a rule of thumb."""

    minimum_labels: int = setting(50, "Labels of an entity type below which they warn.")
    types: Mapping[str, Mapping[Literal["minimum", "recommended"], LabelCount]] = setting(
        {}, "Of single entity types.", example={"PORT": {"minimum": 30, "recommended": 100}}
    )

    def minimum(self, entity_type: str) -> int:
        """Labels of the type that are enough to learn from."""
        return self.types.get(entity_type, {}).get("minimum", self.minimum_labels)

    def recommended(self, entity_type: str) -> int:
        """Labels of the type at which its learning curve has usually flattened."""
        return self.types.get(entity_type, {}).get("recommended", RECOMMENDED_MINIMA * self.minimum(entity_type))


class LogSettings(SettingsSection):
    """What is logged, on standard error."""

    level: Level = setting("INFO", "DEBUG, INFO, WARNING or ERROR.", variable="LOG_LEVEL")
