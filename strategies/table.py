"""The strategies: one line each. Torch-free, so that names can be listed and checked at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ROLES: tuple[str, ...] = (
    "query",
    "key",
    "value",
    "attention_output",
    "attention_norm",
    "intermediate",
    "output",
    "output_norm",
    "embedding_norm",
    "embedding_projection",
    "pooler",
    "query_key_value",
    "final_norm",
    "position_key",
    "position_query",
    "position_norm",
    "convolution",
    "convolution_norm",
)
"""Roles a bias can have. `intermediate` is the first feed-forward layer, of width 4d; `output` the second.

The order is that of canonical names, so a new role goes to the end.
"""

GROUPS: dict[str, tuple[str, ...]] = {
    "query_key_value": ("query", "key", "value"),
    "linear": ("query", "key", "value", "attention_output", "intermediate", "output"),
    "norm": ("attention_norm", "output_norm"),
    "embedding": ("embedding_norm", "embedding_projection"),
    "position": ("position_key", "position_query", "position_norm"),
}
"""Words for several roles, of which a model has some at least: linear layers and norms inside the layers, and so on.

`query_key_value` is a role besides, of the one tensor that holds the three in some architectures.
"""


PREPARES, SELECTS, INSERTS, STORES = range(4)
"""What a strategy does to a model: makes it ready, chooses what trains, inserts, or stores what is frozen."""

SUBSET, WHOLE, WRAPPED = "trains numbers of too", "trains in full", "puts its own layers around"
"""What a strategy does to weight matrices of the encoder layers. A subset leaves no room for any other of these."""


@dataclass(frozen=True)
class Size:
    """What the number in a strategy's argument says.

    word      what it is, for people: rank, bottleneck
    whole     whether it is a whole number, at least 1; else a share, above 0 and at most 1
    default   what it is where neither an argument nor a budget says
    """

    word: str
    whole: bool
    default: float


@dataclass(frozen=True)
class Entry:
    """A strategy's line in the table.

    module     where its `apply` lives
    sentence   what it trains, for people
    words      word its argument may hold -> what it means, several of them joined by '+'
    groups     word -> the words it stands for
    no_words   the words that come to the same as none at all, where there are such
    size       what a number as its argument says; None where it takes none
    layered    whether '@0-5' at its end keeps it to layers 0 to 5
    sized      whether a budget of trainable values sets its size
    random     whether it draws coordinates or first values, so that a mask seed makes sense
    decays     whether weight decay touches nothing but what trains
    narrowed   the sentence where there are words, which stand for `{words}` in it
    same_as    the canonical name of a strategy that trains the very same; empty for none
    order      in a combination those of a lower one are applied first: PREPARES, SELECTS, INSERTS or STORES
    alone      whether it is a strategy by itself, and not only as part of a combination
    combines   whether it may be combined with others that train something
    matrices   what it does to weight matrices of the layers, where others must know: SUBSET, WHOLE or WRAPPED
    loads_as   the strategy that a loader applies in its place, which has no training batches to give: one that chooses
               as many of the same weights and draws nothing, so that what is inserted after it comes out the same.
               Which weights change is the delta's to say
    narrows    whether the rest of the encoder may be stored in fewer bytes beside it
    extra      the extra of this program it needs, by name; empty for none
    """

    module: str
    sentence: str
    words: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    no_words: tuple[str, ...] = ()
    size: Size | None = None
    layered: bool = False
    sized: bool = False
    random: bool = False
    decays: bool = True
    narrowed: str = ""
    same_as: str = ""
    order: int = SELECTS
    alone: bool = True
    combines: bool = True
    matrices: str = ""
    loads_as: str = ""
    narrows: bool = True
    extra: str = ""


LAST_LAYERS = Size("number of layers", whole=True, default=2)
PRUNED = Size("share of the encoder", whole=False, default=0.005)
"""What diff pruning leaves of a difference to every parameter."""

_ROLE_WORDS = dict.fromkeys(ROLES, "a role") | {word: f"the roles {', '.join(GROUPS[word])}" for word in GROUPS}

TABLE: dict[str, Entry] = {
    "full": Entry("strategies.full", "Trains every parameter of the encoder.", combines=False, narrows=False),
    "bitfit": Entry(
        "strategies.bitfit",
        "Trains every bias of the encoder, those of the LayerNorms and of a pretrained pooler included.",
        words=_ROLE_WORDS,
        groups=GROUPS,
        layered=True,
        narrowed="Trains the biases of these roles only: {words}.",
    ),
    "bq_b2": Entry(
        "strategies.bq_b2",
        "Trains the biases of the query projections and of the first feed-forward layers.",
        same_as="bitfit:query+intermediate",
    ),
    "random_uniform": Entry(
        "strategies.random_uniform",
        "Trains as many numbers as BitFit, or a budget of them, drawn at random from the weight matrices of the "
        "encoder layers.",
        words={"embeddings": "the embeddings of words, positions and types are drawn from too"},
        sized=True,
        random=True,
        narrowed="Trains as many numbers as BitFit, or a budget of them, drawn at random from the weight matrices of "
        "the encoder layers and from the {words}.",
        matrices=SUBSET,
    ),
    "random_rowcol": Entry(
        "strategies.random_rowcol",
        "Trains as many numbers as BitFit, or a budget of them, in randomly drawn rows or columns of every weight "
        "matrix of the layers.",
        words={"embeddings": "the embeddings of words, positions and types are drawn from too"},
        sized=True,
        random=True,
        narrowed="Trains as many numbers as BitFit, or a budget of them, in randomly drawn rows or columns of every "
        "weight matrix of the layers and of the {words}.",
        matrices=SUBSET,
    ),
    "random_uniform_dense": Entry(
        "strategies.random_uniform_dense",
        "Trains the numbers random_uniform draws, by masking a full gradient: the costly way, for reference.",
        sized=True,
        random=True,
        decays=False,
        narrows=False,
        matrices=SUBSET,
    ),
    "magnitude_subset": Entry(
        "strategies.magnitude_subset",
        "Trains as many numbers as BitFit, or a budget of them: the largest in the weight matrices of the encoder "
        "layers before training.",
        sized=True,
        matrices=SUBSET,
    ),
    "gradient_subset": Entry(
        "strategies.gradient_subset",
        "Trains as many numbers as BitFit, or a budget of them: those in the weight matrices of the encoder layers "
        "whose gradients on training batches are the largest before training.",
        sized=True,
        matrices=SUBSET,
        loads_as="magnitude_subset",
    ),
    "layernorm": Entry(
        "strategies.layernorm",
        "Trains the gain and bias of every LayerNorm of the encoder.",
        words={"gain": "what a norm multiplies by", "bias": "what it adds, where it has one"},
        no_words=("gain", "bias"),
        layered=True,
        narrowed="Trains this part only of every LayerNorm of the encoder: {words}.",
    ),
    "last_layers": Entry(
        "strategies.last_layers",
        "Trains the last layers of the encoder in full.",
        size=LAST_LAYERS,
        sized=True,
        matrices=WHOLE,
    ),
    "add": Entry(
        "strategies.add",
        "Gives every linear layer inside the encoder's layers that has no bias one of zeros, for the rest to train.",
        order=PREPARES,
        alone=False,
    ),
    "diff_pruning": Entry(
        "strategies.diff_pruning",
        "Trains a difference to every parameter of the encoder, and gates that learn which few of them to keep.",
        size=PRUNED,
        sized=True,
        combines=False,
        narrows=False,
    ),
    "diff_pruning_structured": Entry(
        "strategies.diff_pruning_structured",
        "Trains a difference to every parameter of the encoder, and gates, one more a tensor, that learn which few of "
        "them to keep.",
        size=PRUNED,
        sized=True,
        combines=False,
        narrows=False,
    ),
    "frozen": Entry("strategies.frozen", "Trains the head alone; the encoder stays as it was.", combines=False),
    "frozen_cached": Entry(
        "strategies.frozen_cached",
        "Trains the head alone on outputs of the encoder that are computed once, without dropout.",
        combines=False,
    ),
    "adapter_houlsby": Entry(
        "strategies.adapter_houlsby",
        "Trains two inserted bottleneck adapters a layer, after attention and after the feed-forward layers.",
        size=Size("bottleneck", whole=True, default=64),
        sized=True,
        random=True,
        order=INSERTS,
    ),
    "adapter_pfeiffer": Entry(
        "strategies.adapter_pfeiffer",
        "Trains one inserted bottleneck adapter a layer, after the feed-forward layers.",
        size=Size("bottleneck", whole=True, default=48),
        sized=True,
        random=True,
        order=INSERTS,
    ),
    "lora": Entry(
        "strategies.lora",
        "Trains a low-rank matrix added to the weights of each query and value projection.",
        size=Size("rank", whole=True, default=8),
        sized=True,
        random=True,
        order=INSERTS,
        extra="peft",
        matrices=WRAPPED,
    ),
    "ia3": Entry(
        "strategies.ia3",
        "Trains a factor on each key, value and inner feed-forward activation.",
        order=INSERTS,
        extra="peft",
        matrices=WRAPPED,
    ),
    "vera": Entry(
        "strategies.vera",
        "Trains two vectors a query and value projection, around random matrices that all of them share.",
        size=Size("rank", whole=True, default=256),
        sized=True,
        random=True,
        order=INSERTS,
        extra="peft",
        matrices=WRAPPED,
    ),
    "shira": Entry(
        "strategies.shira",
        "Trains as many weights of the query and value projections as LoRA of the same rank trains, drawn at random.",
        size=Size("rank", whole=True, default=8),
        sized=True,
        random=True,
        order=INSERTS,
        extra="peft",
        matrices=SUBSET,
    ),
    "prompt": Entry(
        "strategies.prompt",
        "Trains the embeddings of virtual tokens put in front of every text.",
        size=Size("number of tokens", whole=True, default=20),
        sized=True,
        random=True,
        order=INSERTS,
    ),
    "prefix": Entry(
        "strategies.prefix",
        "Trains keys and values put in front of those of every text, in every layer.",
        size=Size("number of tokens", whole=True, default=20),
        sized=True,
        random=True,
        order=INSERTS,
    ),
    "bf16": Entry(
        "strategies.bf16", "Keeps the frozen matrices of the encoder in bfloat16 meanwhile.", order=STORES, alone=False
    ),
    "int8": Entry(
        "strategies.int8", "Keeps the frozen matrices of the encoder in int8 meanwhile.", order=STORES, alone=False
    ),
}
