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
    size       what a number as its argument says; None where it takes none
    layered    whether '@0-5' at its end keeps it to layers 0 to 5
    sized      whether a budget of trainable values sets its size
    random     whether it draws coordinates, so that a mask seed makes sense
    decays     whether weight decay touches nothing but what trains
    narrowed   the sentence where there are words, which stand for `{words}` in it
    same_as    the canonical name of a strategy that trains the very same; empty for none
    order      in a combination those of a lower one are applied first: 0 prepares the model, 1 selects, 2 inserts
    alone      whether it is a strategy by itself, and not only as part of a combination
    combines   whether it may be part of a combination
    extra      the extra of this program it needs, by name; empty for none
    """

    module: str
    sentence: str
    words: Mapping[str, str] = field(default_factory=dict)
    size: Size | None = None
    layered: bool = False
    sized: bool = False
    random: bool = False
    decays: bool = True
    narrowed: str = ""
    same_as: str = ""
    order: int = 1
    alone: bool = True
    combines: bool = True
    extra: str = ""


_ROLE_WORDS = dict.fromkeys(ROLES, "a role")

TABLE: dict[str, Entry] = {
    "full": Entry("strategies.full", "Trains every parameter of the encoder.", combines=False),
    "bitfit": Entry(
        "strategies.bitfit",
        "Trains every bias of the encoder, those of the LayerNorms and of a pretrained pooler included.",
        words=_ROLE_WORDS,
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
    ),
    "random_rowcol": Entry(
        "strategies.random_rowcol",
        "Trains as many numbers as BitFit, or a budget of them, in randomly drawn rows or columns of every weight "
        "matrix of the layers.",
        sized=True,
        random=True,
    ),
    "random_uniform_dense": Entry(
        "strategies.random_uniform_dense",
        "Trains the numbers random_uniform draws, by masking a full gradient: the costly way, for reference.",
        sized=True,
        random=True,
        decays=False,
    ),
    "magnitude_subset": Entry(
        "strategies.magnitude_subset",
        "Trains as many numbers as BitFit, or a budget of them: the largest in the weight matrices of the encoder "
        "layers before training.",
        sized=True,
    ),
    "gradient_subset": Entry(
        "strategies.gradient_subset",
        "Trains as many numbers as BitFit, or a budget of them: those in the weight matrices of the encoder layers "
        "whose gradients on training batches are the largest before training.",
        sized=True,
    ),
    "layernorm": Entry("strategies.layernorm", "Trains the gain and bias of every LayerNorm of the encoder."),
    "frozen": Entry("strategies.frozen", "Trains the head alone; the encoder stays as it was.", combines=False),
}
